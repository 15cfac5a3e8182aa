"""What a run says about its models: everything that its files and its figures show, and nothing they have to derive."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from overnight.stats.auroc_difference import AurocDifference
from overnight.stats.cell_tests import CellTest
from overnight.stats.contrasts import Contrasts
from overnight.stats.correlations import RankCorrelation
from overnight.stats.degeneracy import DEFAULT_LIMITS, Degeneracy, Limits
from overnight.stats.discrimination import Discrimination
from overnight.stats.error_examples import Example
from overnight.stats.length_control import LengthControl
from overnight.stats.model_cells import Factor, ModelFacts
from overnight.stats.multiplicity import Adjusted
from overnight.stats.reliability import Reliability
from overnight.uncertainty.label_agreement import Agreement
from overnight.uncertainty.table import ItemTable


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSettings:
    """How a run is analysed."""

    seed: int = 2025
    n_resamples: int = 2000
    confidence: float = 0.95
    limits: Limits = DEFAULT_LIMITS
    measure: str = "g_nll"  # where one is shown; the first of the run where the run has no such measure
    label: str = "f1"  # likewise
    n_strata: int = 4  # of length
    n_bins: int = 10  # of a reliability diagram
    n_examples: int = 10  # of each kind of error


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemText:
    """What a person reads of an item."""

    question: str
    answer: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredTrial:
    """One model on one data set, measured and labelled; item keys are those of the data set."""

    slug: str
    model: ModelFacts
    dataset: str
    measures: ItemTable  # higher is less certain
    labels: ItemTable  # of the same items; 1 right, 0 wrong
    lengths: Mapping[
        str, float
    ]  # content tokens of each greedy answer; an item without is in no length control
    texts: Mapping[str, ItemText] = field(default_factory=dict)  # only of items that are shown
    clusters: Mapping[str, str] = field(default_factory=dict)  # the passages of items that have one

    def __post_init__(self) -> None:
        """Refuse labels of other items."""
        if set(self.measures.item_keys) != set(self.labels.item_keys):
            raise ValueError(f"{self.slug}: measures and labels are of different items")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The values of a measure over all items that have one."""

    n: int
    n_missing: int
    mean: float | None
    sd: float | None  # of the sample, n - 1; None below two values
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Corners of a line in the unit square, from the left."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureResult:
    """One measure against one label. A sound one is judged on the items that all sound ones have."""

    measure: str
    spread: Spread
    discrimination: Discrimination
    roc: Curve | None  # x: share of right answers refused, y: share of wrong ones; None where degenerate
    risk_coverage: Curve | None  # x: share of items answered, y: share of wrong ones among them
    length: LengthControl
    length_p: Adjusted  # of the partial correlation, over all of the run

    @property
    def auroc(self) -> float | None:
        """The area, None where the result is degenerate."""
        return self.discrimination.ranking.auroc if self.discrimination.ranking else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a measure is worth where it is taken as a probability of being right."""

    measure: str
    title: str  # of the probability
    reliability: Reliability | None
    undefined_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelResult:
    """One trial by one rule of what is right."""

    label: str
    n_right: int  # of all items with this label
    n_wrong: int
    n_without_label: int
    accuracy: float | None
    accuracy_low: float | None  # exact
    accuracy_high: float | None
    n_common: int  # items that all sound measures have
    n_passages: int | None  # that they are about; None where no two of them share one
    measures: tuple[MeasureResult, ...]
    calibrations: tuple[Calibration, ...]
    differences: tuple[AurocDifference, ...]  # every two measures; adjusted over all of the run

    @property
    def n_labelled(self) -> int:
        """Number of items with this label."""
        return self.n_right + self.n_wrong

    def measure(self, name: str) -> MeasureResult | None:
        """Return the result of a measure, None where the trial has none of this name."""
        return next((one for one in self.measures if one.measure == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationResult:
    """Two measures of one trial, with p-values adjusted over all of the run."""

    correlation: RankCorrelation
    adjusted: Adjusted


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """One surprising answer; its text where it is known."""

    example: Example
    text: ItemText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """Everything about one trial."""

    slug: str
    model: ModelFacts
    dataset: str
    n_items: int
    labels: tuple[LabelResult, ...]
    correlations: tuple[CorrelationResult, ...]
    agreements: tuple[Agreement, ...]
    most_certain_wrong: tuple[ErrorRow, ...]  # by the measure and the label of the analysis
    least_certain_right: tuple[ErrorRow, ...]

    def label(self, name: str) -> LabelResult | None:
        """Return the result by a label, None where the trial has none of this name."""
        return next((one for one in self.labels if one.label == name), None)

    def result(self, measure: str, label: str) -> MeasureResult | None:
        """Return one measure by one label."""
        by_label = self.label(label)
        return by_label.measure(measure) if by_label else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelComparison:
    """Two models on the same items; adjusted over all of the run."""

    dataset: str
    measure: str
    label: str
    difference: AurocDifference


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMean:
    """The mean AUROC of some cells; its interval is over the choice of items, with the models as they are."""

    group: str  # what is grouped by: a `Factor`, or "measure"
    level: str
    measure: str
    label: str
    n_cells: int  # in the mean
    n_degenerate: int  # left out of it
    aurocs: tuple[float, ...]  # of the cells, in the order of the trials
    mean: float | None
    low: float | None
    high: float | None
    undefined_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DegenerateCell:
    """A result that would be a number and means nothing."""

    slug: str
    measure: str
    label: str
    kind: Degeneracy
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A whole run."""

    run_id: str
    experiment: str
    is_dry_run: bool  # synthetic answers: every number is about the machinery
    settings: AnalysisSettings
    measure: str  # what is shown where there is room for one
    label: str
    measures: tuple[str, ...]
    labels: tuple[str, ...]
    trials: tuple[TrialResult, ...]
    models: tuple[ModelComparison, ...]  # every two models on a data set, by the label above
    contrasts: Contrasts
    cell_tests: tuple[CellTest, ...]
    means: tuple[GroupMean, ...]  # by the measure and label above; of each measure by the label above

    def means_of(self, group: Factor | str) -> tuple[GroupMean, ...]:
        """Return the means of one grouping."""
        return tuple(mean for mean in self.means if mean.group == str(group))

    def degenerate(self) -> Iterator[DegenerateCell]:
        """Yield every degenerate result."""
        for trial in self.trials:
            for label in trial.labels:
                for one in label.measures:
                    found = one.discrimination
                    if found.degeneracy is not None:
                        yield DegenerateCell(
                            slug=trial.slug,
                            measure=one.measure,
                            label=label.label,
                            kind=found.degeneracy,
                            sentence=found.undefined_because or "",
                        )
