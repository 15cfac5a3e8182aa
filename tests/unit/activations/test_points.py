import pytest

from overnight.activations.points import SUBLAYERS, Component, Point, every_sublayer
from overnight.errors import UsageError


@pytest.mark.parametrize("component", Component)
def test_a_label_names_its_point(component: Component) -> None:
    assert Point.parse(Point(12, component).label) == Point(12, component)


def test_points_are_in_the_order_in_which_a_model_comes_to_them() -> None:
    # By name, 10 would come before 9, and mlp_out before q.
    points = [
        Point(9, Component.RESIDUAL_IN),
        Point(9, Component.Q),
        Point(9, Component.RESIDUAL_MID),
        Point(9, Component.MLP_OUT),
        Point(9, Component.RESIDUAL_OUT),
        Point(10, Component.RESIDUAL_IN),
    ]
    shuffled = [points[place] for place in (4, 0, 5, 2, 1, 3)]
    assert sorted(shuffled) == points
    assert max(points) == points[-1]


def test_every_sublayer_is_three_states_of_each_block() -> None:
    points = every_sublayer(26)  # Gemma-2-2B has 26 blocks: 78 states, not 81
    assert len(points) == 78
    assert [point.component for point in points[:3]] == list(SUBLAYERS)
    assert list(points) == sorted(points)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("residual_out", "wanted a layer and a component"),
        ("-1.residual_out", "wanted a layer and a component"),
        ("²." + "q", "wanted a layer and a component"),
        ("3.residual", "no component 'residual'; there are residual_in, q"),
        ("3", "no component ''"),
    ],
)
def test_a_label_that_names_no_point_says_what_was_wanted(label: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Point.parse(label)
