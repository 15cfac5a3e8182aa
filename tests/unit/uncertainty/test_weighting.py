import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.measure import Need
from overnight.uncertainty.measures import MEASURES
from overnight.uncertainty.weighting import SCHEMES, WEIGHTINGS, Tokens
from tests.unit.uncertainty.answers import evidence

FIVE = [1.0, 2.0, 3.0, 4.0, 5.0]
R = [0.1, 0.2, 0.3, 0.4, 0.5]


def weights(name: str, nlls=FIVE, relevance=R) -> list[float]:
    return list(SCHEMES[name](Tokens(nlls=np.array(nlls), relevance=np.array(relevance[: len(nlls)]))))


def test_there_are_43_schemes() -> None:
    assert len(WEIGHTINGS) == 43


def test_e21_uniform_weights_are_the_average_nll_and_not_g_nll() -> None:
    # Golden vector 13: 2.0 is the average of 1 and 3, G-NLL is 4.0; they share no label.
    item = evidence([-1.0, -3.0])
    uniform = WEIGHTINGS["uniform"]
    assert uniform.of(item) == 2.0 == MEASURES["average_nll"].of(item)
    assert MEASURES["g_nll"].of(item) == 4.0
    assert uniform.title.startswith(MEASURES["average_nll"].title)
    assert MEASURES["g_nll"].title not in uniform.title


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear_increasing", [0, 1 / 4, 2 / 4, 3 / 4, 1]),
        ("linear_decreasing", [1, 3 / 4, 2 / 4, 1 / 4, 0]),
        ("quadratic_increasing", [0, 1 / 16, 4 / 16, 9 / 16, 1]),
        ("quadratic_decreasing", [1, 9 / 16, 4 / 16, 1 / 16, 0]),
        ("exponential_increasing", [(math.exp(i / 2) - 1) / (math.exp(2) - 1) for i in range(5)]),
        (
            "exponential_decreasing",
            [(math.exp(-i / 2) - math.exp(-2)) / (1 - math.exp(-2)) for i in range(5)],
        ),
        ("middle_peak", [0, 1 / 2, 1, 1 / 2, 0]),  # 1 - |i - 2| / 2
        ("edges_peak", [1, 1 / 2, 0, 1 / 2, 1]),
        ("gaussian_middle", [math.exp(-((i - 2) ** 2) / (2 * 1.5**2)) for i in range(5)]),  # sigma .3 x 5
        ("nll_proportional", [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1]),
        ("confidence_proportional", [math.exp(-nll) for nll in FIVE]),
        ("surprisal", [0.1, 0.35, 0.6, 0.85, 1.1]),
        ("first_k", [1, 1, 1, 0.1, 0.1]),
        ("last_k", [0.1, 0.1, 1, 1, 1]),
        ("first_last_k", [1, 1, 0.1, 1, 1]),  # k is at most half of the tokens
        ("recency_bias", [0.95**4, 0.95**3, 0.95**2, 0.95, 1]),
        ("high_uncertainty_only", [0.1, 0.1, 0.1, 1, 1]),  # the 75th percentile is 4
        ("low_uncertainty_only", [1, 1, 0.1, 0.1, 0.1]),
        ("sar_relevance", R),
        ("hybrid_middle_sar_50", [0.05, 0.35, 0.65, 0.45, 0.25]),
        ("hybrid_middle_sar_70", [0.03, 0.41, 0.79, 0.47, 0.15]),
        ("nll_sqrt", [math.sqrt(nll / 5) for nll in FIVE]),
        ("nll_cubic", [(nll / 5) ** 3 for nll in FIVE]),
        ("nll_quartic", [(nll / 5) ** 4 for nll in FIVE]),
        ("nll_quintic", [(nll / 5) ** 5 for nll in FIVE]),
        ("negate_last_3", [1, 1, 0.01, 0.01, 0.01]),
        ("negate_last_5", [0.01] * 5),
        ("negate_last_20pct", [1, 1, 1, 1, 0.01]),
        ("negate_first_3", [0.01, 0.01, 0.01, 1, 1]),
        ("negate_first_20pct", [0.01, 1, 1, 1, 1]),
        ("unweight_beginning", [0.01, 1, 1, 1, 1]),  # .33 x 5 is 1.65: the first one
        ("unweight_middle", [1, 0.01, 0.01, 1, 1]),  # .67 x 5 is 3.35: from the second to the third
        ("unweight_end", [1, 1, 1, 0.01, 0.01]),
        ("only_beginning", [1, 0.01, 0.01, 0.01, 0.01]),
        ("only_middle", [0.01, 1, 1, 0.01, 0.01]),
        ("only_end", [0.01, 0.01, 0.01, 1, 1]),
        ("nll_squared_negate_end", [1 / 25, 4 / 25, 9 / 25, 16 / 25, 0.01]),
        ("nll_cubic_negate_end", [1 / 125, 8 / 125, 27 / 125, 64 / 125, 0.01]),
        ("nll_squared_middle_focus", [0, 2 / 25, 9 / 25, 8 / 25, 0]),
        ("nll_cubic_middle_focus", [0, 4 / 125, 27 / 125, 32 / 125, 0]),
    ],
)
def test_weights_of_five_tokens_by_hand(name: str, expected: list[float]) -> None:
    assert weights(name) == pytest.approx(expected)


@pytest.mark.parametrize("share", [50, 70])
def test_the_gaussian_hybrid_is_a_mean_of_its_parts(share: int) -> None:
    parts = zip(weights("gaussian_middle"), R, strict=True)
    expected = [share / 100 * gaussian + (1 - share / 100) * relevance for gaussian, relevance in parts]
    assert weights(f"hybrid_gaussian_sar_{share}") == pytest.approx(expected)


@pytest.mark.parametrize("name", SCHEMES)
def test_the_only_token_is_the_value(name: str) -> None:
    assert WEIGHTINGS[name].of(evidence([-1.5], relevance_in_context=(0.5,))) == pytest.approx(1.5)
    assert WEIGHTINGS[name].of(evidence([0.0], relevance_in_context=(0.5,))) == 0.0


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1)), min_size=1, max_size=9))
def test_a_weighted_mean_lies_among_its_tokens(tokens) -> None:
    nlls, relevance = zip(*tokens, strict=True)
    item = evidence([-nll for nll in nlls], relevance_in_context=relevance)
    for name, measure in WEIGHTINGS.items():
        assert min(weights(name, nlls, relevance)) >= 0.0
        try:
            value = measure.of(item)
        except UndefinedMetricError:
            continue
        assert min(nlls) - 1e-9 <= value <= max(nlls) + 1e-9


def test_e4_where_all_weights_are_zero_there_is_no_value() -> None:
    # The middle of two tokens lies between them; the seed put G-NLL, 4.0, there.
    with pytest.raises(UndefinedMetricError, match="weights of all tokens are 0"):
        WEIGHTINGS["middle_peak"].of(evidence([-1.0, -3.0]))


def test_schemes_with_relevance_say_that_they_need_it() -> None:
    with_relevance = {name for name, measure in WEIGHTINGS.items() if Need.RELEVANCE in measure.needs}
    for name, measure in WEIGHTINGS.items():
        if name in with_relevance:
            with pytest.raises(UndefinedMetricError, match="not computed"):
                measure.of(evidence([-1.0] * 5))
        else:
            assert measure.of(evidence([-1.0] * 5)) == pytest.approx(1.0)
    assert len(with_relevance) == 5
