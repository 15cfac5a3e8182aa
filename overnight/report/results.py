"""What every report of a run is made of: read once, written by every renderer.

A number that is not known is None, never 0; shares are in [0, 1]; differences are treatment - control.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from overnight.ids import number_label
from overnight.invariance.record import AuditRecord
from overnight.records import Condition, ItemType
from overnight.report.comparisons import Cell
from overnight.report.telemetry import Series
from overnight.spec.model import EngineKind
from overnight.store.manifest import BlockRecord, EstimateRecord, TrialCounts, TrialState
from overnight.store.telemetry_record import RunTelemetry, TrialTelemetry

TRUNCATED_TOO_OFTEN = 0.1


class Outcome(StrEnum):
    """How the two arms did on one item at one temperature; right from half of the draws up, as in McNemar."""

    GAINED = "gained"  # control wrong, treatment right
    LOST = "lost"  # control right, treatment wrong
    BOTH_RIGHT = "both_right"
    BOTH_WRONG = "both_wrong"
    UNSCORED = "unscored"  # an arm has no score

    @property
    def differs(self) -> bool:
        """True where one arm was right and the other wrong."""
        return self in (Outcome.GAINED, Outcome.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """The draws of one arm and type, over all temperatures."""

    condition: Condition
    type: ItemType
    n_draws: int
    n_truncated: int
    n_errors: int
    n_empty: int

    @property
    def n_answered(self) -> int:
        """Draws that came back, empty ones too."""
        return self.n_draws - self.n_errors

    @property
    def truncated_share(self) -> float | None:
        """Share of the answered draws that ran into the token limit."""
        return self.n_truncated / self.n_answered if self.n_answered else None

    @property
    def empty_share(self) -> float | None:
        """Share of the answered draws without any text."""
        return self.n_empty / self.n_answered if self.n_answered else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetScore:
    """The means of one arm on one dataset, over all its scored items, paired or not."""

    dataset: str
    type: ItemType
    temperature: float
    condition: Condition
    n_items: int
    means: Mapping[str, float | None]  # by metric; None where no item defines it

    def mean(self, metric: str) -> float | None:
        """Return the mean of a metric, or None where it is not defined."""
        return self.means.get(metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSums:
    """Tokens of an arm or of a trial; None where the engine does not count."""

    n_draws: int
    prompt_tokens: int | None
    completion_tokens: int | None
    usd_if_hosted: float | None

    @property
    def prompt_tokens_per_draw(self) -> float | None:
        """Mean length of a request, as the engine counted it."""
        return self.prompt_tokens / self.n_draws if self.prompt_tokens is not None and self.n_draws else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """``costs.json``."""

    total: TokenSums
    by_condition: Mapping[Condition, TokenSums]
    pricing: Mapping[str, Any]
    local: Mapping[str, Any] | None = None  # seconds, joules and money here; None: an older file


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """The beginning of a text, and how long it is in full."""

    text: str
    n_chars: int

    @property
    def n_left_out(self) -> int:
        """Characters that are not there."""
        return self.n_chars - len(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The first draw of one arm, and the scores of all its draws."""

    text: Excerpt
    finish_reason: str
    em: float | None
    f1: float | None
    abstain_rate: float | None
    n_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One item with what both arms said at one temperature."""

    item_key: str
    dataset: str
    type: ItemType
    temperature: float
    outcome: Outcome
    control: Reply | None
    treatment: Reply | None
    question: Excerpt | None = None  # None: not among the frozen items
    context: Excerpt | None = None
    answers: tuple[Excerpt, ...] = ()

    @property
    def replies_differ(self) -> bool:
        """True where the shown replies are not the same text."""
        if self.control is None or self.treatment is None:
            return False
        return self.control.text != self.treatment.text


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptText:
    """One system prompt of a trial."""

    condition: Condition
    text: str | None  # None: the configuration does not have it
    sha256: str

    @property
    def n_words(self) -> int | None:
        """Number of words."""
        return None if self.text is None else len(self.text.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """Everything that is known of one trial."""

    slug: str
    label: str  # what tells it from the other trials of the run
    state: TrialState
    error: str | None
    requested: Mapping[str, Any]
    effective: Mapping[str, Any] | None
    counts: TrialCounts
    started: datetime | None
    ended: datetime | None
    inference_s: float | None
    prompts: tuple[PromptText, ...]
    statistics: Mapping[str, Any]
    cells: tuple[Cell, ...]
    costs: Costs | None
    arms: tuple[ArmSummary, ...]
    dataset_scores: tuple[DatasetScore, ...]
    examples: tuple[Example, ...]
    n_examples_in_all: int
    n_by_outcome: Mapping[Outcome, int]
    missing: Mapping[str, str]  # table -> why it is not there
    analyses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by file; those that are there
    telemetry: TrialTelemetry | None = None  # None: nothing was noted
    audit: AuditRecord | None = None  # None: no draw was to be asked again
    rung_history: tuple[Mapping[str, str], ...] = ()  # steps down the ladder, the first one first

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.requested["model"])

    @property
    def prompt_set(self) -> str:
        """The prompt set's name."""
        return str(self.requested["prompt_set"])

    @property
    def is_dry_run(self) -> bool:
        """True where the answers are synthetic."""
        return str(self.requested["engine"]) == EngineKind.DRY_RUN

    @property
    def truncated_share(self) -> float | None:
        """Share of the answered draws that ran into the token limit."""
        return self.counts.truncated / self.counts.done if self.counts.done else None

    def truncated_share_of(self, condition: Condition) -> float | None:
        """Return the share of an arm's answered draws that ran into the token limit, over both types."""
        arms = [arm for arm in self.arms if arm.condition is condition]
        answered = sum(arm.n_answered for arm in arms)
        return sum(arm.n_truncated for arm in arms) / answered if answered else None

    @property
    def answers_per_minute(self) -> float | None:
        """Draws that were answered in a minute of inference; those taken from the request cache took none."""
        n_generated = self.counts.done - self.counts.cache_hits
        return 60 * n_generated / self.inference_s if self.inference_s and n_generated else None

    @property
    def tokens_per_second(self) -> float | None:
        """Completion tokens in a second of inference, over all requests at once; cached answers took none."""
        tokens = self.counts.generated_tokens
        if tokens is None and not self.counts.cache_hits and self.costs:
            tokens = self.costs.total.completion_tokens
        return tokens / self.inference_s if tokens and self.inference_s else None

    def scores_by_dataset(self) -> list[tuple[DatasetScore, DatasetScore | None, DatasetScore | None]]:
        """Return, by dataset and temperature, what names the two, then control and treatment if they ran."""
        found: dict[tuple[str, float], dict[Condition, DatasetScore]] = {}
        for score in self.dataset_scores:
            found.setdefault((score.dataset, score.temperature), {})[score.condition] = score
        return [
            (next(iter(arms.values())), arms.get(Condition.CONTROL), arms.get(Condition.TREATMENT))
            for arms in found.values()
        ]

    def truncated_too_often(self) -> tuple[ArmSummary, ...]:
        """Return the arms of which more than `TRUNCATED_TOO_OFTEN` of the replies were cut off."""
        return tuple(arm for arm in self.arms if (arm.truncated_share or 0) > TRUNCATED_TOO_OFTEN)

    def differing_settings(self) -> tuple[str, ...]:
        """Return the settings that were asked for and not given."""
        effective = self.effective or {}
        return tuple(k for k in self.requested if k in effective and effective[k] != self.requested[k])

    def arm_label(self, temperature: float) -> str:
        """Return the trial and a temperature in a few words."""
        return f"{self.label}, T {number_label(temperature)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetItems:
    """The frozen items of one dataset."""

    dataset: str
    type: ItemType
    n_items: int
    n_unanswerable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """Everything that is known of a run."""

    run_id: str
    name: str
    description: str
    state: TrialState
    error: str | None
    created: datetime
    updated: datetime
    fingerprint: str
    environment: Mapping[str, Any]
    execution: Mapping[str, Any]
    blocks: tuple[BlockRecord, ...]
    items: tuple[DatasetItems, ...]
    detectable: Mapping[str, float | None]  # by item type: smallest difference in exact match
    trials: tuple[TrialReport, ...]
    notes: tuple[str, ...]  # files of the run that could not be read
    telemetry: tuple[Series, ...] = ()
    machine: RunTelemetry | None = None  # None: nothing was sampled
    comparisons: Mapping[str, Any] | None = None  # `comparisons.json`; None: the run has none
    estimate: EstimateRecord | None = None  # None: the run is older than predictions
    predicted_memory: Mapping[str, int] = field(default_factory=dict)  # bytes by model, as it was to be held

    @property
    def n_items(self) -> int:
        """Items over all datasets."""
        return sum(dataset.n_items for dataset in self.items)

    @property
    def is_dry_run(self) -> bool:
        """True where any answers are synthetic."""
        return any(trial.is_dry_run for trial in self.trials)

    @property
    def unfinished(self) -> tuple[TrialReport, ...]:
        """The trials that did not come to their end, or not without errors."""
        return tuple(trial for trial in self.trials if trial.state is not TrialState.DONE)
