"""What was measured of a run, in one value: rules read this and nothing else. What was not measured is None."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Arm(NamedTuple):
    """One column of a trial, for one type of items."""

    item_type: str
    condition: str
    temperature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How long the answers of one arm were, in tokens that the model wrote."""

    ended: Mapping[int, int] = field(default_factory=dict)  # answers that came to an end, by their length
    n_cut: int = 0  # answers that were cut off at the limit
    n_unknown: int = 0  # answers that came to an end, of a length that nobody counted

    @property
    def n(self) -> int:
        """All answers."""
        return sum(self.ended.values()) + self.n_cut + self.n_unknown

    def plus(self, other: "Answers") -> "Answers":
        """Return both together."""
        lengths = self.ended.keys() | other.ended.keys()
        return Answers(
            ended={length: self.ended.get(length, 0) + other.ended.get(length, 0) for length in lengths},
            n_cut=self.n_cut + other.n_cut,
            n_unknown=self.n_unknown + other.n_unknown,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """What the journal of a trial says, over all its rows."""

    n_done: int = 0  # draws with an answer
    n_repeated: int = 0  # further answers to draws that had one
    n_retried: int = 0  # rows that took more than one attempt
    n_empty: int = 0  # answers without a visible character
    n_sent: int = 0  # answers that the engine gave, not the cache
    failed: Mapping[str, int] = field(default_factory=dict)  # draws without an answer, by kind of error
    messages: Mapping[str, str] = field(default_factory=dict)  # the first message of each kind
    n_timeouts: int = 0  # of the failed: no answer in time
    n_overflow_tokens: int | None = None  # the most that prompt and answer would have needed
    answers: Mapping[Arm, Answers] = field(default_factory=dict)
    prompt_tokens: int | None = None  # of sent draws whose cached tokens are known
    cached_tokens: int | None = None  # of these, found in the prefix cache
    completion_tokens: int | None = None  # of sent draws
    prefill_s: float | None = None  # summed over the requests that say both
    decode_s: float | None = None
    longest_prompt: int | None = None  # tokens
    longest_request: int | None = None  # tokens of a prompt and its answer

    @property
    def n_failed(self) -> int:
        """Draws without an answer."""
        return sum(self.failed.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Rows of a trial's tables; None where there is no such table."""

    n_predictions: int | None = None
    n_prediction_arms: int | None = None  # runs of rows of the same item and arm
    n_repeated_ids: int | None = None
    n_scores: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A sensor while a trial generated."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEvidence:
    """One trial."""

    slug: str
    model: str
    engine: str = "llama_cpp"
    state: str = "done"
    error: str | None = None
    quantization: str | None = None
    slots: int | None = None
    context_tokens: int | None = None  # of one request
    trained_context_tokens: int | None = None  # the longest that the model was made for
    token_limits: Mapping[str, int] = field(default_factory=dict)  # max_new_tokens by type of item
    limit_keys: Mapping[str, str] = field(default_factory=dict)  # the setting behind each, by type of item
    stop: tuple[str, ...] = ()
    n_expected: int | None = None
    inference_s: float | None = None
    predicted_s: float | None = None  # by what this machine had measured before
    predicted_high_s: float | None = None  # longer than this in one night of twenty
    n_steps_down: int = 0  # rungs of the memory ladder
    draws: Draws | None = None
    tables: Tables = Tables()
    prompt_bytes: int | None = None
    shared_prompt_bytes: int | None = None  # of these, the same as at the beginning of the prompt before
    signals: Mapping[str, Signal] = field(default_factory=dict)
    throttle: Mapping[str, float] | None = None  # share of the samples, by reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvidence:
    """One model block."""

    model: str
    loads: int = 0
    restarts: int = 0
    beside: tuple[str, ...] = ()  # models that were held at the same time
    last_words: str | None = None  # of its log


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """One run."""

    run_id: str
    state: str = "done"
    is_going_on: bool = False  # somebody works on it now
    error: str | None = None
    execution: Mapping[str, Any] = field(default_factory=dict)
    cores: int | None = None  # physical
    memory_bytes: int | None = None
    gpus: tuple[Mapping[str, Any], ...] = ()
    models: tuple[ModelEvidence, ...] = ()
    trials: tuple[TrialEvidence, ...] = ()
    out_of_memory_lines: tuple[str, ...] = ()  # of the logs and errors: ``file:line: text``
    killed_lines: tuple[str, ...] = ()  # the same: a process ended by signal 9
    missing_sensors: Mapping[str, str] = field(default_factory=dict)  # why they gave nothing
    unread: Mapping[str, str] = field(default_factory=dict)  # files that could not be read, and why

    def no_signal(self, name: str) -> str:
        """Return why nothing is known of a sensor."""
        reasons = "; ".join(f"{sensor}: {why}" for sensor, why in self.missing_sensors.items())
        return f"no telemetry has {name}{f' ({reasons})' if reasons else ''}"

    def setting(self, *keys: str) -> Any:
        """Return a value of ``execution``; None where it is not set."""
        value: Any = self.execution
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value
