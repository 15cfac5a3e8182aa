"""``k_sweep_results.json``: what the best of K texts of each vector recovers, and beside what that has to be seen.

A number that is not known is null, never 0, and a field beside it says why. Names that older sweeps had are kept where
they mean the same: ``variance_recovery`` is `fve`, ``r_squared`` is `r_squared_grand`, ``avg_mse`` is `mse`.
"""

from typing import Any, Final, Literal

from overnight.best_of_k.baselines import Baseline
from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.selectors import Selector
from overnight.spec.base import Spec

SCHEMA_VERSION: Final = 1


class Estimate(Spec):
    """A number with what its sample says about it; the intervals are of whole sources that were drawn anew."""

    value: float | None = None
    std: float | None = None  # of the resamples
    bias: float | None = None  # mean of the resamples less the value
    bias_corrected: float | None = None
    ci_lower: float | None = None  # percentile interval
    ci_upper: float | None = None
    bca_ci_lower: float | None = None
    bca_ci_upper: float | None = None
    undefined_because: str | None = None  # no value
    no_interval_because: str | None = None
    no_bca_because: str | None = None


class Gap(Spec):
    """How far one number is behind another one over the same vectors; above 0 where the oracle is better."""

    measure: Measure
    gap: Estimate
    share_of_gain: float | None = None  # of what the oracle gains over one draw
    undefined_because: str | None = None  # of the share


class AtK(Spec):
    """All measures at a number of draws, by one way to choose."""

    k: int
    measures: dict[Measure, Estimate]
    r_squared_by_dimension: float | None = None  # mean over the dimensions that vary
    gaps: tuple[Gap, ...] = ()  # the oracle less this one
    n_sets: int = 0  # of K draws that were gone through for each vector; 0: exact, from ranks


class Curve(Spec):
    """A way to choose, or a baseline, over all K."""

    by_k: tuple[AtK, ...] = ()
    n_vectors: int = 0
    undefined_because: str | None = None

    def at(self, k: int) -> AtK | None:
        """Return what is said of a number of draws."""
        return next((each for each in self.by_k if each.k == k), None)

    def value(self, k: int, measure: Measure) -> float | None:
        """Return a measure, None where it is undefined."""
        found = self.at(k)
        return found.measures[measure].value if found and measure in found.measures else None


class SelectorCurve(Curve):
    """A way to choose among K draws."""

    name: Selector
    needs_vector: bool  # then only a study has it


class BaselineCurve(Curve):
    """Reconstructions that know nothing of the vector, put through the same choice."""

    name: Baseline


class RoleCurve(Curve):
    """The oracle for the tokens of one role; the spread is about the mean of the role."""

    role: str


class OldNames(Spec):
    """One entry of ``results_by_k``: the oracle, by the names that older sweeps have."""

    k: int
    avg_mse: float | None
    mse_std: float | None
    mse_ci_lower: float | None
    mse_ci_upper: float | None
    variance_recovery: float | None
    variance_recovery_bias: float | None
    variance_recovery_bias_corrected: float | None
    variance_recovery_std: float | None
    variance_recovery_ci_lower: float | None
    variance_recovery_ci_upper: float | None
    variance_recovery_bca_ci_lower: float | None
    variance_recovery_bca_ci_upper: float | None
    mse_variance_recovery: float | None  # bias-aware: the honest one
    mse_variance_recovery_ci_lower: float | None
    mse_variance_recovery_ci_upper: float | None
    r_squared: float | None
    r_squared_std: float | None
    r_squared_ci_lower: float | None
    r_squared_ci_upper: float | None
    total_positions: int  # vectors
    original_variance: float | None  # of all numbers of all vectors, about their one mean
    original_mean: float | None
    mean_variance_mean_over_hidden: float | None  # Var_i(x_d), mean over d
    residual_variance_mean_over_hidden: float | None
    undefined_because: str | None = None


class Summary(Spec):
    """The curves as plain lists."""

    k_values: tuple[int, ...]
    mse_values: tuple[float | None, ...]
    variance_recovery_values: tuple[float | None, ...]
    bias_aware_fve_values: tuple[float | None, ...]
    r_squared_values: tuple[float | None, ...]


class VectorCounts(Spec):
    """What became of the vectors."""

    n_wanted: int
    n_drawn: int  # their draws are done
    n_measured: int  # enough draws succeeded
    n_sources: int  # texts that the measured ones are from
    n_short: int  # too few draws succeeded
    n_left_out: int = 0  # texts without a vector, such as those that are too short
    n_draws: int  # a vector
    n_failed_draws: int = 0
    n_dimensions: int | None = None


class Costs(Spec):
    """What was spent on draws."""

    n_draws: int
    n_tokens: int
    seconds: float | None = None  # of devices, drawing and encoding; None where a chunk was not timed
    tokens_per_draw: float | None = None  # that succeeded
    seconds_per_draw: float | None = None
    n_halvings: int = 0  # of batches that did not fit into memory


class Point(Spec):
    """A number of draws, its price and what it recovers (bias-aware FVE, the oracle)."""

    label: str
    k: int
    tokens_per_vector: float
    seconds_per_vector: float | None
    recovery: float | None
    recovery_per_1k_tokens: float | None
    gained_per_1k_tokens: float | None
    is_efficient_in_tokens: bool
    is_efficient_in_seconds: bool | None


class DefinitionRecord(Spec):
    """A measure in words."""

    formula: str
    is_higher_better: bool
    undefined_where: str


class KSweepResults(Spec):
    """The whole file of a trial."""

    schema_version: Literal[1] = SCHEMA_VERSION
    lens: str | None  # what older sweeps call checkpoint_path
    model: str | None
    label: str
    eval_config: dict[str, Any]
    vectors: VectorCounts
    state: Literal["complete", "partial", "empty"]
    notes: tuple[str, ...] = ()  # what a reader has to know before any number
    results_by_k: tuple[OldNames, ...]
    summary: Summary
    oracle: SelectorCurve
    selectors: tuple[SelectorCurve, ...]
    baselines: tuple[BaselineCurve, ...]
    by_role: tuple[RoleCurve, ...] = ()
    costs: Costs
    frontier: tuple[Point, ...] = ()
    definitions: dict[Measure, DefinitionRecord]
    words: dict[str, str] = {}  # of selectors, baselines and intervals
    undefined_because: dict[str, str] = {}  # by the field that is null or empty

    def selector(self, name: Selector) -> SelectorCurve | None:
        """Return a way to choose, the oracle too."""
        return next((each for each in (self.oracle, *self.selectors) if each.name is name), None)

    def baseline(self, name: Baseline) -> BaselineCurve | None:
        """Return a baseline."""
        return next((each for each in self.baselines if each.name is name), None)

    @property
    def measured_ks(self) -> tuple[int, ...]:
        """Numbers of draws that have numbers."""
        return tuple(each.k for each in self.oracle.by_k)
