"""Everything that is said of one set of paired differences."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from overnight.stats.bootstrap import bootstrap_intervals, paired_bootstrap
from overnight.stats.clusters import cluster_codes
from overnight.stats.equivalence import Tost, tost
from overnight.stats.hodges_lehmann import hodges_lehmann
from overnight.stats.mcnemar import McNemar, discordant_pairs, mcnemar
from overnight.stats.pairs import Pairs
from overnight.stats.permutation import sign_flip_p
from overnight.stats.ranks import Wilcoxon, cohens_dz, rank_biserial, sign_statistic, wilcoxon


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """How small a difference does not matter."""

    margin: float  # in the unit of the metric
    alpha: float = 0.05
    is_higher_better: bool | None = True  # None: neither way is worse, so there is no non-inferiority


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedStatistics:
    """Treatment against control over the items of both; all numbers are finite or None.

    Means are over the pairs alone, in the unit of the metric. Differences are treatment - control. One
    p-value is the declared one, `p_value`; the others are shown beside it and not adjusted.
    """

    n_pairs: int
    n_unpaired: int  # items with a row in one arm only
    n_half_defined: int  # items with both rows, of which one defines the metric
    n_undefined: int  # items for which the metric is defined in neither arm; not in the pairing rate
    pairing_rate: float | None
    n_clusters: int  # independent units: pairs, or clusters of pairs
    confidence: float
    n_resamples: int
    mean_control: float | None = None
    mean_treatment: float | None = None
    control_low: float | None = None  # of the mean of each arm by itself
    control_high: float | None = None
    treatment_low: float | None = None
    treatment_high: float | None = None
    mean_difference: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    ci_method: str | None = None
    ci_bca_low: float | None = None
    ci_bca_high: float | None = None
    ci_bca_undefined_because: str | None = None
    mcnemar: McNemar | None = None  # of a metric that calls items right and wrong
    permutation_p: float | None = None
    wilcoxon: Wilcoxon | None = None  # None: no difference is other than zero
    hodges_lehmann: float | None = None
    cohens_dz: float | None = None  # None: no spread
    rank_biserial: float | None = None
    sign_statistic: float | None = None
    tost: Tost | None = None  # None: no margin was declared for the metric
    q_value: float | None = None  # of `p_value`, over a whole run; None until adjusted
    q_value_by: float | None = None
    p_holm: float | None = None
    undefined_because: str | None = None

    @property
    def p_value(self) -> float | None:
        """The declared p-value: exact McNemar where items are right or wrong, sign flips otherwise."""
        return self.mcnemar.p_exact if self.mcnemar else self.permutation_p


def paired_statistics(
    pairs: Pairs,
    *,
    metric: str,
    stream_for: Callable[[str], np.random.Generator],
    has_right_and_wrong: bool,
    clusters: Mapping[str, str] | None = None,
    margin: Margin | None = None,
    n_resamples: int = 5000,
    confidence: float = 0.95,
) -> PairedStatistics:
    """Return every estimate and test of some pairs.

    Args:
        pairs: of one metric.
        metric: its name, for the reason where there are no pairs.
        stream_for: gives the random numbers of one purpose, so that no estimate moves another.
        has_right_and_wrong: whether items are right (from `mcnemar.RIGHT_FROM` up) or wrong; then McNemar's
            test is the declared one.
        clusters: of each item the cluster it belongs to. The bootstrap, the sign flips and the t tests then
            take clusters for the independent units; McNemar and the ranks take items.
        margin: for equivalence; None makes no test of it.
        n_resamples: of the bootstrap and of the sign flips.
        confidence: of all intervals but the one of `Tost`, in (0, 1).

    Returns:
        Without pairs, numbers that are None and the reason; with one pair or one cluster, no interval.
    """
    codes = cluster_codes(pairs.keys, clusters)
    same: dict[str, Any] = {
        "n_pairs": pairs.n_pairs,
        "n_unpaired": len(pairs.unpaired),
        "n_half_defined": len(pairs.half_defined),
        "n_undefined": len(pairs.undefined),
        "pairing_rate": pairs.pairing_rate,
        "n_clusters": pairs.n_pairs if codes is None else int(codes.max()) + 1,
        "confidence": confidence,
        "n_resamples": n_resamples,
    }
    if not pairs.n_pairs:
        return PairedStatistics(**same, undefined_because=_why_no_pairs(metric, pairs))
    differences = pairs.differences
    intervals = bootstrap_intervals(
        differences,
        n_resamples=n_resamples,
        confidence=confidence,
        rng=stream_for("bootstrap"),
        clusters=codes,
    )
    control, treatment = (
        paired_bootstrap(
            values, n_resamples=n_resamples, confidence=confidence, rng=stream_for(purpose), clusters=codes
        )
        for values, purpose in ((pairs.control, "control arm"), (pairs.treatment, "treatment arm"))
    )
    test = None
    if has_right_and_wrong:
        test = mcnemar(*discordant_pairs(pairs.control, pairs.treatment), confidence=confidence)
    return PairedStatistics(
        **same,
        mean_control=float(pairs.control.mean()),
        mean_treatment=float(pairs.treatment.mean()),
        control_low=control.low,
        control_high=control.high,
        treatment_low=treatment.low,
        treatment_high=treatment.high,
        mean_difference=float(differences.mean()),
        ci_low=intervals.percentile.low,
        ci_high=intervals.percentile.high,
        ci_method=intervals.percentile.method,
        ci_bca_low=intervals.bca.low,
        ci_bca_high=intervals.bca.high,
        ci_bca_undefined_because=intervals.bca.undefined_because,
        mcnemar=test,
        permutation_p=sign_flip_p(
            differences, n_resamples=n_resamples, rng=stream_for("sign flip"), clusters=codes
        ),
        wilcoxon=wilcoxon(differences),
        hodges_lehmann=hodges_lehmann(differences),
        cohens_dz=cohens_dz(differences),
        rank_biserial=rank_biserial(differences),
        sign_statistic=sign_statistic(differences),
        tost=None
        if margin is None
        else tost(
            differences,
            margin=margin.margin,
            alpha=margin.alpha,
            is_higher_better=margin.is_higher_better,
            clusters=codes,
        ),
        undefined_because=intervals.percentile.undefined_because,
    )


def shallow(value: PairedStatistics) -> dict[str, Any]:
    """Return the fields of a value by name, to make a value out of that says what was compared."""
    return {field.name: getattr(value, field.name) for field in fields(PairedStatistics)}


def _why_no_pairs(metric: str, pairs: Pairs) -> str:
    return (
        f"no item has {metric} in both arms: {len(pairs.unpaired)} have one row only, "
        f"{len(pairs.half_defined)} define it in one arm, {len(pairs.undefined)} in neither"
    )
