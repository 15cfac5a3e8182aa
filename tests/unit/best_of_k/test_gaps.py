import numpy as np
import pytest

from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.gaps import gaps
from overnight.best_of_k.recovery import recovery
from overnight.best_of_k.selectors import by_agreement, by_error, by_score, medoid_agreement
from overnight.best_of_k.sums import RecoverySums, RecoveryTally
from overnight.stats.rng import stream

KS = [1, 2, 8]


def both(kind: str) -> tuple[RecoverySums, RecoverySums]:
    rng = np.random.default_rng(0)
    tallies = RecoveryTally(KS, 3), RecoveryTally(KS, 3)
    for n in range(30):
        x = rng.normal(size=3)
        y = x + rng.normal(size=(8, 3)) * (0.0 if kind == "exact" else 1.0)
        errors = np.square(x - y).mean(axis=1)
        other = {
            "exact": lambda e=errors: by_score(np.arange(8.0), KS),
            "oracle": lambda e=errors: by_score(-e, KS),
            "worst": lambda e=errors: by_score(e, KS),
            "medoid": lambda y=y, n=n: by_agreement(medoid_agreement(y), KS, rng=stream(1, str(n))),
        }[kind]()
        for tally, kept in zip(tallies, (by_error(errors, KS), other), strict=True):
            tally.add(f"s{n // 2}", x, y, kept.weights)
    return tallies[0].sums(), tallies[1].sums()


@pytest.mark.parametrize("measure", [Measure.BIAS_AWARE_FVE, Measure.MSE])
def test_a_gap_is_above_zero_where_the_oracle_is_better_whatever_the_sign(measure: Measure) -> None:
    oracle, medoid = both("medoid")
    one, _, eight = gaps(oracle, medoid, KS, measure, n_resamples=100, seed=1)
    assert (one.gap, one.share_of_gain) == (pytest.approx(0.0, abs=1e-12), None)
    assert one.undefined_because == "the oracle gains nothing over one draw"
    difference = recovery(oracle, 8, measure) - recovery(medoid, 8, measure)
    assert eight.gap == pytest.approx(abs(difference))
    assert eight.gap_intervals.percentile.low > 0  # type: ignore[operator]
    # The draws lie around the vector, so the one in their middle is better than any one, and not the best.
    assert 0 < eight.share_of_gain < 1  # type: ignore[operator]


def test_the_oracle_has_all_of_its_gain_and_the_worst_choice_does_harm() -> None:
    assert gaps(*both("oracle"), [8], n_resamples=10, seed=1)[0].share_of_gain == pytest.approx(1.0)
    assert gaps(*both("worst"), [8], n_resamples=10, seed=1)[0].share_of_gain < 0  # type: ignore[operator]
    exact = gaps(*both("exact"), [8], n_resamples=10, seed=1)[0]
    assert (exact.gap, exact.share_of_gain) == (0.0, None)


def test_sums_of_other_vectors_are_refused() -> None:
    oracle, _ = both("medoid")
    with pytest.raises(ValueError, match="other vectors"):
        gaps(oracle, RecoveryTally(KS, 3).sums(), KS, seed=1)
