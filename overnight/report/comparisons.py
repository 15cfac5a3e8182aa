"""One comparison as every report shows it: the numbers of ``significance.json``, none of them rounded.

Differences are treatment - control; a number that is not defined is None, never 0.
"""

from dataclasses import dataclass

from overnight.records import ItemType

ALPHA = 0.05  # a comparison with a smaller q-value is called shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Two one-sided tests against a margin."""

    margin: float
    alpha: float
    p_lower: float | None
    p_upper: float | None
    p_value: float | None
    is_equivalent: bool | None
    is_non_inferior: bool | None
    p_non_inferior: float | None
    ci_low: float | None
    ci_high: float | None
    undefined_because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What version 3 of ``significance.json`` says beyond version 2."""

    ci_method: str | None = None
    ci_control: tuple[float, float] | None = None  # of the mean of each arm by itself
    ci_treatment: tuple[float, float] | None = None
    wilcoxon_w: float | None = None
    wilcoxon_p: float | None = None
    hodges_lehmann: float | None = None
    cohens_dz: float | None = None
    rank_biserial: float | None = None
    sign_statistic: float | None = None
    permutation_p: float | None = None
    q_value_by: float | None = None
    p_holm: float | None = None
    equivalence: Equivalence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One comparison as it stands in ``significance.json``."""

    metric: str
    n_pairs: int
    n_unpaired: int
    n_half_defined: int
    n_undefined: int
    pairing_rate: float | None
    mean_control: float | None
    mean_treatment: float | None
    delta: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    q_value: float | None
    undefined_because: str | None
    extras: Extras = Extras()

    @property
    def is_shown(self) -> bool:
        """True where the difference holds after the adjustment over the whole run."""
        return self.q_value is not None and self.q_value < ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemarRow:
    """The discordant pairs of one cell."""

    b: int  # control wrong, treatment right
    c: int  # control right, treatment wrong
    odds_ratio: float | None  # None: no pair is discordant
    odds_ratio_low: float | None
    odds_ratio_high: float | None  # None beside an odds ratio: unbounded
    p_exact: float
    p_mid: float | None
    q_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The comparisons of one trial at one temperature on one type of item."""

    temperature: float
    type: ItemType
    metrics: tuple[MetricRow, ...]
    mcnemar: McNemarRow | None
    n_clusters: int | None = None  # None: the file does not say

    def metric(self, name: str) -> MetricRow | None:
        """Return one comparison, or None where it was not made."""
        return next((row for row in self.metrics if row.metric == name), None)
