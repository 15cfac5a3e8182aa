import numpy as np
import pytest

from overnight.errors import UndefinedMetricError
from overnight.stats.auroc_planning import expected_standard_error, smallest_detectable_auroc_difference
from overnight.stats.delong import placements


def test_the_formula_by_hand() -> None:
    # A = .75: Q1 = .75 / 1.25 = .6, Q2 = 2 x .5625 / 1.75 = 9 / 14; 40 wrong and 10 right answers:
    # (.1875 + 39 (.6 - .5625) + 9 (9 / 14 - .5625)) / 400 = (.1875 + 1.4625 + .7232143) / 400 = .00593304.
    assert expected_standard_error(0.75, n_wrong=40, n_right=10) == pytest.approx(0.00593304**0.5, rel=1e-6)


@pytest.mark.parametrize(("z_power", "n"), [(0.84, 652), (1.28, 897), (1.645, 1131)])
def test_the_sample_sizes_of_hanley_and_mcneil_come_out(z_power, n) -> None:
    # Their table III, areas .70 and .75: so many answers of each kind show the difference with 80, 90 and 95 %,
    # one-sided at 5 %. For large n the variance of an area is (Q1 + Q2 - 2 A^2) / n.
    large = 10**9
    first, second = (
        large * expected_standard_error(area, n_wrong=large, n_right=large) ** 2 for area in (0.70, 0.75)
    )
    wanted = ((1.645 * (2 * first) ** 0.5 + z_power * (first + second) ** 0.5) / 0.05) ** 2
    assert wanted == pytest.approx(n, abs=1)


def test_exponential_scores_scatter_as_the_formula_says() -> None:
    # What the formula is exact for: P(wrong > right) = m / (1 + m) for means m and 1; m = 3 gives .75.
    rng = np.random.default_rng(0)
    areas = [
        placements(
            np.concatenate([rng.exponential(3.0, 30), rng.exponential(1.0, 20)]), np.arange(50) < 30
        ).auroc
        for _ in range(1500)
    ]
    assert np.mean(areas) == pytest.approx(0.75, abs=0.01)
    assert np.std(areas) == pytest.approx(expected_standard_error(0.75, n_wrong=30, n_right=20), rel=0.06)


def test_a_difference_needs_less_where_the_two_areas_move_together() -> None:
    # By hand: (1.959964 + .841621) x sqrt(2 x .5) x SE.
    se = expected_standard_error(0.75, n_wrong=200, n_right=200)
    found = smallest_detectable_auroc_difference(0.75, n_wrong=200, n_right=200, correlation=0.5)
    assert found == pytest.approx(2.801585 * se, rel=1e-6)
    apart = smallest_detectable_auroc_difference(0.75, n_wrong=200, n_right=200, correlation=0.0)
    assert apart == pytest.approx(found * 2**0.5)


def test_too_few_answers_and_impossible_arguments_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="1 right and 9 wrong answers"):
        expected_standard_error(0.75, n_wrong=9, n_right=1)
    with pytest.raises(ValueError, match=r"auroc is 1\.0"):
        expected_standard_error(1.0, n_wrong=9, n_right=9)
    with pytest.raises(ValueError, match=r"correlation=1\.0"):
        smallest_detectable_auroc_difference(0.75, n_wrong=9, n_right=9, correlation=1.0)
