"""How far a selector that a user can have stays behind the oracle that only a study has."""

from collections.abc import Sequence
from dataclasses import dataclass

from overnight.best_of_k.definitions import DEFINITIONS, Measure
from overnight.best_of_k.resampling import Resamples, intervals, resample
from overnight.best_of_k.sums import RecoverySums
from overnight.stats.bootstrap import Intervals

_NOTHING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Two ways to choose among the same K draws of the same vectors."""

    k: int
    measure: Measure
    best: float | None  # what the oracle reaches
    found: float | None  # what the other reaches
    gap: (
        float | None
    )  # in the unit of the measure; above 0 where the oracle is better, whatever the measure's sign
    gap_intervals: Intervals
    share_of_gain: float | None  # of what the oracle gains over one draw; below 0 where choosing does harm
    undefined_because: str | None = None  # of the gap, or else of the share


def gaps(
    oracle: RecoverySums,
    other: RecoverySums,
    ks: Sequence[int],
    measure: Measure = Measure.BIAS_AWARE_FVE,
    *,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int,
) -> list[Gap]:
    """Return the gap at every number of draws, with the interval of the gap itself.

    Both are resampled alike, so what vectors have in common cancels out.

    Args:
        oracle: sums with the weights of `by_error`.
        other: sums of the same vectors with the weights of another selector, or of a baseline.
        ks: numbers of draws, among those of the sums; the sums have to be of one draw, too.
        measure: of recovery.
        n_resamples: of the sources.
        confidence: of the intervals.
        seed: of the resamples.

    Raises:
        ValueError: the sums are not of the same vectors, or not of one of ``ks`` or of one draw.
    """
    if oracle.sources != other.sources or (oracle.n != other.n).any():
        raise ValueError("sums of other vectors have no gap between them")
    wanted = sorted({1, *ks})
    best = resample(oracle, wanted, [measure], n_resamples=n_resamples, seed=seed)
    found = resample(other, wanted, [measure], n_resamples=n_resamples, seed=seed)
    return [
        gap_between(k, measure, best[k, measure], found[k, measure], best[1, measure], confidence) for k in ks
    ]


def gap_between(
    k: int,
    measure: Measure,
    best: Resamples,
    found: Resamples,
    one: Resamples | None = None,
    confidence: float = 0.95,
) -> Gap:
    """Return the gap between two numbers that were resampled alike.

    Args:
        k: number of draws.
        measure: what the numbers are.
        best: of the oracle.
        found: of the other.
        one: of a single draw; None where a share of the gain over it is not asked for, or there is none.
        confidence: of the interval.
    """
    is_higher_better = DEFINITIONS[measure].is_higher_better
    behind = best.less(found) if is_higher_better else found.less(best)
    share, reason = None, behind.undefined_because
    if behind.value is not None and one is not None and one.value is not None:
        gained = (one.estimate - best.estimate) * (-1.0 if is_higher_better else 1.0)
        if gained > _NOTHING * max(abs(one.estimate), abs(best.estimate)):
            share = 1.0 - behind.value / gained
        else:
            reason = "the oracle gains nothing over one draw"
    return Gap(
        k=k,
        measure=measure,
        best=best.value,
        found=found.value,
        gap=behind.value,
        gap_intervals=intervals(behind, confidence),
        share_of_gain=share,
        undefined_because=reason,
    )
