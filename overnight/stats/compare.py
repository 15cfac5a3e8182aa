"""One metric in two arms: how far apart they are, and whether that could be chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from overnight.records import ItemType
from overnight.stats.bootstrap import paired_bootstrap
from overnight.stats.mcnemar import McNemar, discordant_pairs, mcnemar
from overnight.stats.multiplicity import benjamini_hochberg
from overnight.stats.pairs import Pairs, pair
from overnight.stats.permutation import sign_flip_p
from overnight.stats.rng import stream

METRICS: Mapping[ItemType, tuple[str, ...]] = MappingProxyType(
    {
        ItemType.OPEN: ("em", "f1", "abstain_rate", "false_answer_rate", "unsupported_rate"),
        ItemType.CLOSED: ("em", "f1", "abstain_rate"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Treatment against control on one metric, type and temperature; all numbers are finite or None.

    Means are over the pairs alone, in [0, 1] like the metrics. Differences are treatment - control.
    """

    metric: str
    type: ItemType
    temperature: float
    n_pairs: int
    n_unpaired: int  # items with a row in one arm only
    n_half_defined: int  # items with both rows, of which one defines the metric
    n_undefined: int  # items for which the metric is defined in neither arm; not in the pairing rate
    pairing_rate: float | None
    mean_control: float | None = None
    mean_treatment: float | None = None
    mean_difference: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    confidence: float
    n_resamples: int
    mcnemar: McNemar | None = None  # em only
    permutation_p: float | None = None  # f1 only
    q_value: float | None = None  # of `p_value`, over a whole run; None until `adjust`
    undefined_because: str | None = None

    @property
    def p_value(self) -> float | None:
        """The one p-value of this comparison: exact McNemar for em, sign flips for f1, none otherwise."""
        return self.mcnemar.p_exact if self.mcnemar else self.permutation_p


def compare_arms(
    control: Mapping[str, float | None],
    treatment: Mapping[str, float | None],
    *,
    metric: str,
    type: ItemType,  # noqa: A002 - called as the column of every table is
    temperature: float,
    seed: int,
    n_resamples: int = 5000,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two arms by item.

    Every metric gets a bootstrap interval; em also McNemar's test, after an item with several draws is called
    right or wrong by `mcnemar.RIGHT_FROM`; f1 also the sign-flip test.

    Args:
        control: per-item value by item key; None where the metric is undefined for the item.
        treatment: likewise.
        metric: one of ``METRICS[type]``.
        type: the type of all these items.
        temperature: the temperature of both arms.
        seed: with metric, type and temperature it names the random streams, so no comparison moves another.
        n_resamples: of the bootstrap and of the sign flips.
        confidence: of all intervals, in (0, 1).

    Returns:
        Without pairs, a comparison whose numbers are None and which says why; with one pair, no interval.

    Raises:
        ValueError: the metric is not tested for this type, or a value or setting is out of range.
    """
    if metric not in METRICS[type]:
        raise ValueError(f"metric {metric!r} is not tested on {type} items; choose from {METRICS[type]}")
    pairs = pair(control, treatment)
    empty = Comparison(
        metric=metric,
        type=type,
        temperature=temperature,
        n_pairs=pairs.n_pairs,
        n_unpaired=len(pairs.unpaired),
        n_half_defined=len(pairs.half_defined),
        n_undefined=len(pairs.undefined),
        pairing_rate=pairs.pairing_rate,
        confidence=confidence,
        n_resamples=n_resamples,
    )
    if not pairs.n_pairs:
        return replace(empty, undefined_because=_why_no_pairs(metric, pairs))

    labels = (metric, type.value, repr(float(temperature)))
    differences = pairs.differences
    interval = paired_bootstrap(
        differences, n_resamples=n_resamples, confidence=confidence, rng=stream(seed, "bootstrap", *labels)
    )
    test, flip_p = None, None
    if metric == "em":
        test = mcnemar(*discordant_pairs(pairs.control, pairs.treatment), confidence=confidence)
    elif metric == "f1":
        flip_p = sign_flip_p(differences, n_resamples=n_resamples, rng=stream(seed, "sign flip", *labels))
    return replace(
        empty,
        mean_control=float(pairs.control.mean()),
        mean_treatment=float(pairs.treatment.mean()),
        mean_difference=float(differences.mean()),
        ci_low=interval.low,
        ci_high=interval.high,
        mcnemar=test,
        permutation_p=flip_p,
        undefined_because="one pair has no interval" if pairs.n_pairs == 1 else None,
    )


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Fill the q-values by Benjamini-Hochberg over every p-value of the run, of either test.

    Call it once, on all comparisons of a run: the number of tests is part of the result.
    """
    q_values = benjamini_hochberg([comparison.p_value for comparison in comparisons])
    return [replace(comparison, q_value=q) for comparison, q in zip(comparisons, q_values, strict=True)]


def _why_no_pairs(metric: str, pairs: Pairs) -> str:
    return (
        f"no item has {metric} in both arms: {len(pairs.unpaired)} have one row only, "
        f"{len(pairs.half_defined)} define it in one arm, {len(pairs.undefined)} in neither"
    )
