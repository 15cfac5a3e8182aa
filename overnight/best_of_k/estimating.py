"""From sums to what is said of them: values, intervals and gaps, in the records of a results file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from overnight.best_of_k.definitions import DEFINITIONS, Measure
from overnight.best_of_k.gaps import gap_between
from overnight.best_of_k.record import AtK, DefinitionRecord, Estimate, Gap, OldNames
from overnight.best_of_k.recovery import r_squared_by_dimension, totals
from overnight.best_of_k.resampling import Resamples, intervals, resample, without_resamples
from overnight.best_of_k.sums import RecoverySums
from overnight.errors import UndefinedMetricError
from overnight.stats.bootstrap import Intervals

GAP_MEASURES = (Measure.BIAS_AWARE_FVE, Measure.FVE, Measure.MSE)
Numbers = Mapping[tuple[int, Measure], Resamples]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How often sources are drawn anew, and what an interval covers."""

    n_resamples: int  # 0: never
    confidence: float
    seed: int

    def numbers(self, sums: RecoverySums) -> Numbers:
        """Return every measure at every number of draws of some sums."""
        if not self.n_resamples:
            return without_resamples(sums, sums.ks)
        return resample(sums, sums.ks, n_resamples=self.n_resamples, seed=self.seed)


def at_each_k(
    sums: RecoverySums,
    numbers: Numbers,
    how: Resampling,
    *,
    oracle: Numbers | None = None,
    n_sets: Sequence[int] = (),
) -> tuple[AtK, ...]:
    """Return what is said of a selector or a baseline at every number of draws.

    Args:
        sums: its sums.
        numbers: of these sums.
        how: they were resampled.
        oracle: numbers of the same vectors with the best draw kept, to say how far this is behind; None for itself.
        n_sets: sets of draws that were gone through at each number of draws; none where that is exact.
    """
    return tuple(
        AtK(
            k=k,
            measures={measure: estimate(numbers[k, measure], how.confidence) for measure in Measure},
            r_squared_by_dimension=_r_squared(sums, k),
            gaps=()
            if oracle is None
            else tuple(_gap(k, each, oracle, numbers, how) for each in GAP_MEASURES),
            n_sets=n_sets[place] if n_sets else 0,
        )
        for place, k in enumerate(sums.ks)
    )


def estimate(found: Resamples, confidence: float) -> Estimate:
    """Return a number with its intervals, or why it has none."""
    return _estimate(found, intervals(found, confidence))


def old_names(sums: RecoverySums, at: AtK) -> OldNames:
    """Return the oracle at a number of draws by the names that older sweeps have."""
    mse, fve = at.measures[Measure.MSE], at.measures[Measure.FVE]
    honest, r_squared = at.measures[Measure.BIAS_AWARE_FVE], at.measures[Measure.R_SQUARED_GRAND]
    n, d = sums.n_vectors, sums.n_dimensions
    whole = totals(sums, at.k)
    is_spread = n > 1
    mean = float((sums.origin.sum() * n + sums.x.sum()) / (n * d)) if n else None
    with np.errstate(invalid="ignore", divide="ignore"):
        about_mean = float(whole.x_squares - whole.x_sum_squares / n) if n else 0.0
        residual = float(whole.residual_squares - whole.residual_sum_squares / n) if n else 0.0
    return OldNames(
        k=at.k,
        avg_mse=mse.value,
        mse_std=mse.std,
        mse_ci_lower=mse.ci_lower,
        mse_ci_upper=mse.ci_upper,
        variance_recovery=fve.value,
        variance_recovery_bias=fve.bias,
        variance_recovery_bias_corrected=fve.bias_corrected,
        variance_recovery_std=fve.std,
        variance_recovery_ci_lower=fve.ci_lower,
        variance_recovery_ci_upper=fve.ci_upper,
        variance_recovery_bca_ci_lower=fve.bca_ci_lower,
        variance_recovery_bca_ci_upper=fve.bca_ci_upper,
        mse_variance_recovery=honest.value,
        mse_variance_recovery_ci_lower=honest.ci_lower,
        mse_variance_recovery_ci_upper=honest.ci_upper,
        r_squared=r_squared.value,
        r_squared_std=r_squared.std,
        r_squared_ci_lower=r_squared.ci_lower,
        r_squared_ci_upper=r_squared.ci_upper,
        total_positions=n,
        original_variance=float(whole.x_grand_squares) / (n * d - 1) if n * d > 1 else None,
        original_mean=mean,
        mean_variance_mean_over_hidden=max(about_mean, 0.0) / ((n - 1) * d) if is_spread else None,
        residual_variance_mean_over_hidden=max(residual, 0.0) / ((n - 1) * d) if is_spread else None,
        undefined_because=fve.undefined_because or mse.undefined_because,
    )


def definition_records() -> dict[Measure, DefinitionRecord]:
    """Return every measure in words."""
    return {
        measure: DefinitionRecord(
            formula=each.formula, is_higher_better=each.is_higher_better, undefined_where=each.undefined_where
        )
        for measure, each in DEFINITIONS.items()
    }


def _estimate(found: Resamples, of: Intervals) -> Estimate:
    value, bias = found.value, found.bias
    no_interval = of.percentile.undefined_because
    return Estimate(
        value=value,
        std=found.standard_error,
        bias=bias,
        bias_corrected=None if value is None or bias is None else value - bias,
        ci_lower=of.percentile.low,
        ci_upper=of.percentile.high,
        bca_ci_lower=of.bca.low,
        bca_ci_upper=of.bca.high,
        undefined_because=found.undefined_because,
        no_interval_because=no_interval,
        no_bca_because=None if of.bca.undefined_because == no_interval else of.bca.undefined_because,
    )


def _gap(k: int, measure: Measure, oracle: Numbers, own: Numbers, how: Resampling) -> Gap:
    found = gap_between(
        k, measure, oracle[k, measure], own[k, measure], oracle.get((1, measure)), how.confidence
    )
    lower_is_better = not DEFINITIONS[measure].is_higher_better
    first, second = oracle[k, measure], own[k, measure]
    behind = second.less(first) if lower_is_better else first.less(second)
    share_reason = None
    if found.share_of_gain is None:
        share_reason = found.undefined_because or "there is no number of one draw to compare with"
    return Gap(
        measure=measure,
        gap=_estimate(behind, found.gap_intervals),
        share_of_gain=found.share_of_gain,
        undefined_because=share_reason,
    )


def _r_squared(sums: RecoverySums, k: int) -> float | None:
    try:
        return r_squared_by_dimension(sums, k).mean
    except UndefinedMetricError:
        return None
