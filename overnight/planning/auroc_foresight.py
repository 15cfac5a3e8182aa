"""How much the AUROCs of an uncertainty sweep are going to say, by the number of items of each dataset."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Final

from overnight.errors import UndefinedMetricError
from overnight.planning.trial import Trial
from overnight.planning.uncertainty_trials import UncertaintyTrial
from overnight.records import Item
from overnight.scoring.aggregate import cluster_of
from overnight.stats.auroc_planning import expected_standard_error, smallest_detectable_auroc_difference

# Nothing is known yet of how well a measure ranks, nor of how many answers will be right.
ASSUMED_AUROC: Final = 0.75
ASSUMED_SHARES_RIGHT: Final = (0.1, 0.3, 0.5)
ASSUMED_CORRELATION: Final = 0.5  # of the AUROCs of two measures of the same answers
CONFIDENCE: Final = 0.95
POWER: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedAuroc:
    """What the items of a dataset say if some share of the answers is right."""

    dataset: str
    n_items: int
    n_passages: int | None  # that they are about; None where no two share one
    share_right: float
    n_right: int
    n_wrong: int
    half_width: float | None  # of the interval of one AUROC
    smallest_difference: float | None  # between two measures of the same answers
    undefined_because: str | None = None


def expected_aurocs(trials: Sequence[Trial], items: Sequence[Item]) -> Iterator[ExpectedAuroc]:
    """Yield, by dataset and share of right answers, what its items can show; nothing for trials of another kind.

    Items are counted as independent. Where several are about one passage, intervals are going to be wider.
    """
    datasets = dict.fromkeys(trial.dataset for trial in trials if isinstance(trial, UncertaintyTrial))
    for dataset in datasets:
        asked = [item for item in items if item.dataset == dataset]
        passages = {cluster_of(item) for item in asked}
        for share in ASSUMED_SHARES_RIGHT:
            yield _expected(
                dataset, len(asked), None if len(passages) == len(asked) else len(passages), share
            )


def auroc_record(trials: Sequence[Trial], items: Sequence[Item]) -> dict[str, Any]:
    """Return what stands in ``plan.json``; nothing for trials of another kind."""
    found = [asdict(one) for one in expected_aurocs(trials, items)]
    if not found:
        return {}
    return {
        "expected_auroc": {
            "assumed": {
                "auroc": ASSUMED_AUROC,
                "correlation_of_two": ASSUMED_CORRELATION,
                "confidence": CONFIDENCE,
                "power": POWER,
            },
            "by_dataset": found,
        }
    }


def _expected(dataset: str, n_items: int, n_passages: int | None, share: float) -> ExpectedAuroc:
    n_right = round(share * n_items)
    counts = {"n_right": n_right, "n_wrong": n_items - n_right}
    half_width, difference, why = None, None, None
    try:
        half_width = NormalDist().inv_cdf((1.0 + CONFIDENCE) / 2.0) * expected_standard_error(
            ASSUMED_AUROC, **counts
        )
        difference = smallest_detectable_auroc_difference(
            ASSUMED_AUROC,
            **counts,
            correlation=ASSUMED_CORRELATION,
            alpha=1.0 - CONFIDENCE,
            power=POWER,
        )
    except UndefinedMetricError as reason:
        why = str(reason)
    return ExpectedAuroc(
        dataset=dataset,
        n_items=n_items,
        n_passages=n_passages,
        share_right=share,
        **counts,
        half_width=half_width,
        smallest_difference=difference,
        undefined_because=why,
    )
