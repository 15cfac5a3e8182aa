"""Does a measure of uncertainty tell wrong answers from right ones? Discrimination, which is not calibration."""

import math
from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import average_precision_score

from overnight.stats.auroc_resamples import paired_aurocs, stratified_aurocs
from overnight.stats.bootstrap import Interval
from overnight.stats.degeneracy import DEFAULT_LIMITS, Degeneracy, Limits, degeneracy
from overnight.stats.delong import delong_interval, logit_interval, placements
from overnight.stats.ranking import percentile_interval
from overnight.stats.rng import stream
from overnight.stats.scored_items import ScoredItems
from overnight.stats.selective_risk import risk_coverage


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How well a measure ranks; areas are in [0, 1]."""

    auroc: float  # how often a wrong answer is less certain than a right one; .5 is chance
    se: float  # DeLong's; by cluster where items come in clusters, as its intervals say
    delong: Interval
    logit: Interval
    bootstrap: Interval  # classes resampled apart; or whole clusters, in which both classes are
    auprc: float  # average precision in finding wrong answers; chance gives the share of wrong ones
    aurc: float  # mean risk from the most certain answer down, ties over all orders; 0 is best
    aurc_optimal: float
    excess_aurc: float
    prediction_rejection_ratio: float  # 1 is the best order, 0 chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrimination:
    """One measure against one label: the counts always, the ranking only where it means something."""

    measure: str
    label: str
    n_items: int  # with a score and a label
    n_clusters: int  # independent units among them: items, or clusters of items
    n_right: int
    n_wrong: int
    n_without_score: int
    n_without_label: int
    base_rate: float | None  # share of wrong answers: what chance gives as AUPRC and AURC
    tie_share: float | None  # of the pairs of a wrong and a right answer
    ranking: Ranking | None
    degeneracy: Degeneracy | None = None
    undefined_because: str | None = None


def discriminate(
    items: ScoredItems,
    *,
    measure: str,
    label: str,
    seed: int,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    limits: Limits = DEFAULT_LIMITS,
) -> Discrimination:
    """Judge one measure by one label of correctness.

    Args:
        items: higher scores are less certain.
        measure: its name, which with that of the label also names the random stream.
        label: the name of the label.
        seed: of the stream.
        n_resamples: of the bootstrap.
        confidence: of all intervals, in (0, 1).
        limits: below and above which a result is named and not computed.

    Returns:
        Without a ranking where `degeneracy` finds a reason.
    """
    found = degeneracy(items, limits)
    ranking = None
    if found is None:
        placed = placements(items.uncertainty, items.is_wrong, items.clusters)
        auroc, variance = placed.auroc, placed.variance
        curve = risk_coverage(-items.uncertainty, items.correctness, n_items=items.n_items)
        ranking = Ranking(
            auroc=auroc,
            se=math.sqrt(variance),
            delong=delong_interval(auroc, variance, confidence, placed.method),
            logit=logit_interval(auroc, variance, confidence, placed.method),
            bootstrap=_bootstrap(
                items, n_resamples, confidence, stream(seed, "bootstrap AUROC", measure, label)
            ),
            auprc=float(average_precision_score(items.is_wrong, items.uncertainty)),
            aurc=curve.aurc,
            aurc_optimal=curve.aurc_optimal,
            excess_aurc=curve.excess_aurc,
            prediction_rejection_ratio=curve.prediction_rejection_ratio,
        )
    return Discrimination(
        measure=measure,
        label=label,
        n_items=items.n_items,
        n_clusters=items.n_clusters,
        n_right=items.n_right,
        n_wrong=items.n_wrong,
        n_without_score=items.n_without_score,
        n_without_label=items.n_without_label,
        base_rate=items.n_wrong / items.n_items if items.n_items else None,
        tie_share=items.tie_share,
        ranking=ranking,
        degeneracy=found.kind if found else None,
        undefined_because=found.sentence if found else None,
    )


def _bootstrap(items: ScoredItems, n_resamples: int, confidence: float, rng: np.random.Generator) -> Interval:
    if items.clusters is None:
        resamples = stratified_aurocs(items, n_resamples=n_resamples, rng=rng)
        return percentile_interval(resamples, confidence)
    (resamples,) = paired_aurocs([items], n_resamples=n_resamples, rng=rng)
    found = percentile_interval(resamples, confidence)
    why = "too many resamples have one class only" if found.low is None else None
    method = f"{found.method} of {items.n_clusters} clusters"
    return replace(found, method=method, undefined_because=why)
