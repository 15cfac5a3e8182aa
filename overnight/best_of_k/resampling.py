"""Recovery of resampled sources: vectors of one sequence are alike, so sequences are drawn and not vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from overnight.best_of_k.definitions import DEFINITIONS, Measure, Totals
from overnight.best_of_k.recovery import left_out, resampled, totals, totals_at, why_undefined
from overnight.best_of_k.sums import RecoverySums
from overnight.stats.bca import bca_shares
from overnight.stats.bootstrap import Interval, Intervals
from overnight.stats.clustered import resampled_counts
from overnight.stats.pairs import FloatArray
from overnight.stats.rng import stream

NO_RESAMPLES = "the bootstrap is switched off"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resamples:
    """One number of a sample, of resamples of its sources, and without each source; NaN where undefined."""

    estimate: float
    resampled: FloatArray  # [R]
    left_out: FloatArray  # [C]
    sources: tuple[str, ...]
    seed: int
    undefined_because: str | None = None

    @property
    def value(self) -> float | None:
        """The estimate, None where it is undefined."""
        return None if self.undefined_because else self.estimate

    @property
    def standard_error(self) -> float | None:
        """Standard deviation of the resamples, ddof 1; None where one of them is undefined, or there is one source."""
        if not self._has_spread or len(self.resampled) == 1:
            return None
        return float(self.resampled.std(ddof=1))

    @property
    def bias(self) -> float | None:
        """Mean of the resamples less the estimate, None as above; the estimate less this is corrected for it."""
        return float(self.resampled.mean()) - self.estimate if self._has_spread else None

    @property
    def _has_spread(self) -> bool:
        is_defined = self.undefined_because is None and bool(np.isfinite(self.resampled).all())
        return is_defined and len(self.sources) > 1 and len(self.resampled) > 0

    def less(self, other: "Resamples") -> "Resamples":
        """Return this number less another one of the same resamples: a gap with its own interval.

        Raises:
            ValueError: the two are not of the same sources, resampled alike.
        """
        alike = (self.sources, self.seed, self.resampled.shape)
        if alike != (other.sources, other.seed, other.resampled.shape):
            raise ValueError("numbers of other sources, or of other resamples, cannot be subtracted")
        return Resamples(
            estimate=self.estimate - other.estimate,
            resampled=self.resampled - other.resampled,
            left_out=self.left_out - other.left_out,
            sources=self.sources,
            seed=self.seed,
            undefined_because=self.undefined_because or other.undefined_because,
        )


def resample(
    sums: RecoverySums,
    ks: Sequence[int],
    measures: Sequence[Measure] = tuple(Measure),
    *,
    n_resamples: int = 1000,
    seed: int,
) -> dict[tuple[int, Measure], Resamples]:
    """Return measures at numbers of draws, all from the same resamples of C sources.

    C of them are drawn with replacement. What is drawn depends on the seed and on C alone, so that two lenses, a lens
    and a baseline, or two selectors over the same vectors are resampled alike (`Resamples.less`).

    Raises:
        ValueError: ``n_resamples`` is below 1, or the sums are not of one of ``ks``.

    Source:
        Davison & Hinkley (1997), Bootstrap Methods and their Application, section 3.8: whole clusters.
    """
    if n_resamples < 1:
        raise ValueError(f"n_resamples={n_resamples}; want at least 1")
    n_sources = len(sums.sources)
    found: dict[tuple[int, Measure], list[FloatArray]] = {
        (k, measure): [] for k in ks for measure in measures
    }
    if n_sources:
        rng = stream(seed, "best-of-k bootstrap")
        for counts in resampled_counts(np.arange(n_sources), n_resamples, rng):
            part = resampled(sums, counts.astype(np.float64))
            for k in ks:
                of_part = totals_at(sums, k, part)
                for measure in measures:
                    found[k, measure].append(_values(measure, of_part))
    whole = {k: totals(sums, k) for k in ks}
    without_each = left_out(sums)
    lacking = {k: totals_at(sums, k, without_each) for k in ks}
    return {
        (k, measure): Resamples(
            estimate=(estimate := float(_values(measure, whole[k]))),
            resampled=np.concatenate(parts) if parts else np.full(n_resamples, np.nan),
            left_out=_values(measure, lacking[k]),
            sources=sums.sources,
            seed=seed,
            undefined_because=None if np.isfinite(estimate) else why_undefined(sums, measure),
        )
        for (k, measure), parts in found.items()
    }


def without_resamples(
    sums: RecoverySums, ks: Sequence[int], measures: Sequence[Measure] = tuple(Measure)
) -> dict[tuple[int, Measure], Resamples]:
    """Return measures at numbers of draws alone: there are no resamples, and so no intervals.

    Raises:
        ValueError: the sums are not of one of ``ks``.
    """
    nothing = np.zeros(0)
    whole = {k: totals(sums, k) for k in ks}
    return {
        (k, measure): Resamples(
            estimate=(estimate := float(_values(measure, whole[k]))),
            resampled=nothing,
            left_out=nothing,
            sources=sums.sources,
            seed=0,
            undefined_because=None if np.isfinite(estimate) else why_undefined(sums, measure),
        )
        for k in ks
        for measure in measures
    }


def intervals(found: Resamples, confidence: float = 0.95) -> Intervals:
    """Return the percentile and the BCa interval; None where there is none, with the reason.

    There is none where the number itself is undefined, with one source, or where a resample or a sample without one
    source has no value: leaving such resamples out would make the interval look narrower than it is.

    Raises:
        ValueError: ``confidence`` is not within (0, 1).

    Source:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, sections 13.3 and 14.3.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence={confidence}; want it within (0, 1)")
    n_sources, tail = len(found.sources), (1.0 - confidence) / 2.0

    def interval(method: str, shares: tuple[float, float] | None, reason: str | None = None) -> Interval:
        low, high = (None, None) if shares is None else np.quantile(found.resampled, shares).tolist()
        return Interval(
            low=low,
            high=high,
            confidence=confidence,
            n_resamples=len(found.resampled),
            method=f"{method} bootstrap of {n_sources} sources",
            undefined_because=reason,
        )

    n_undefined = int((~np.isfinite(found.resampled)).sum())
    reason = found.undefined_because
    if reason is None and not len(found.resampled):
        reason = NO_RESAMPLES
    if reason is None and n_sources == 1:
        reason = "one source has no interval"
    if reason is None and n_undefined:
        reason = f"{n_undefined} of {len(found.resampled)} resamples have no value: too few sources"
    if reason is not None:
        return Intervals(
            percentile=interval("percentile", None, reason),
            bca=interval("BCa", None, reason),
            n_clusters=n_sources,
        )
    shares: tuple[float, float] | str
    if not np.isfinite(found.left_out).all():
        shares = "without one of the sources there is no value, so the jackknife has no spread"
    else:
        scale = float(max(np.abs(found.resampled).max(), np.abs(found.left_out).max()))
        shares = bca_shares(found.estimate, found.resampled, found.left_out, tail, scale=scale)
    return Intervals(
        percentile=interval("percentile", (tail, 1.0 - tail)),
        bca=interval("BCa", None, shares) if isinstance(shares, str) else interval("BCa", shares),
        n_clusters=n_sources,
    )


def enough_vectors(of_role: Mapping[str, RecoverySums], fewest: int = 11) -> tuple[list[str], dict[str, str]]:
    """Return the roles that have vectors enough to be measured, and why the others have not.

    The sums of a role (user, assistant, system, special, other, pad) are told from those of the others by adding
    vectors to a tally of each; `merge` of all of them is the whole. Within a role the spread of the vectors is about
    the mean of that role, so the whole may recover more than any role does.
    """
    few = {
        role: f"{sums.n_vectors} vectors; at least {fewest} are wanted"
        for role, sums in of_role.items()
        if sums.n_vectors < fewest
    }
    return [role for role in of_role if role not in few], few


def _values(measure: Measure, of: Totals) -> FloatArray:
    # Without a vector, or without spread, there is no value: NaN, which is what everything here takes it for.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(DEFINITIONS[measure].of(of))
