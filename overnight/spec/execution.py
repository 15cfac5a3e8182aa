"""How a run is carried out, whatever it asks; none of it is part of a result's identity."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    model_validator,
)

from overnight.records import Condition
from overnight.spec.audit import AuditSettings
from overnight.spec.base import ClockTime, Name, Spec, no_repeats, off_is_a_word
from overnight.spec.engine_ollama import OllamaSettings
from overnight.spec.engine_openai import OpenAISettings
from overnight.spec.engine_transformers import TransformersSettings
from overnight.spec.lens_execution import LensExecution
from overnight.spec.model import REQUESTS_AT_ONCE, EngineKind
from overnight.spec.pricing import PricingSpec
from overnight.spec.telemetry import TelemetrySettings
from overnight.spec.tracking import TrackingSettings


def _auto_or_number(value: object) -> object:
    if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError("wanted auto, or how many models at most, 1 or more")
    return value


# A block of a Prefect server: its type and its name.
BlockName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*$")]
Concession = Literal["concurrency", "context", "quantization", "model"]


class EngineSettings(Spec):
    """How an engine is held; none of it is part of a result's identity."""

    context_tokens: PositiveInt | None = Field(
        default=None, description="context of one request; null: the longest prompt and answer of the run"
    )
    threads: PositiveInt | None = Field(default=None, description="null: the physical cores there are")
    gpu_layers: int = Field(
        default=-1,
        ge=-1,
        description="llama_cpp and ollama: -1 is all, on the processor where there is no GPU; 0 is the processor; "
        "a number above asks for a GPU, and for that many layers on it",
    )
    cpu_offload: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="where there is a GPU and a model would not lie on it wholly: refuse is out of memory, so that the "
        "ladder steps down; allow goes on, many times slower, and says so",
    )
    batch_invariant: bool | None = Field(
        default=None,
        description="true: an answer does not depend on what else is in the batch or in the prefix cache; "
        "null: true for llama.cpp without a GPU, where it costs nothing; with transformers true is one row at a time",
    )
    startup_timeout_s: float = Field(default=300, gt=0, description="seconds that a model may take to load")
    memory_limit_gib: float | None = Field(
        default=None,
        gt=0,
        description="memory that the process of a model may take for itself; null: what there is",
    )
    ollama: OllamaSettings = OllamaSettings()
    openai: OpenAISettings = Field(
        default=OpenAISettings(), description="for models that are served elsewhere"
    )
    transformers: TransformersSettings = TransformersSettings()

    @property
    def memory_limit_bytes(self) -> int | None:
        """The limit in bytes."""
        return None if self.memory_limit_gib is None else round(self.memory_limit_gib * 2**30)


class Execution(Spec):
    """How a run is carried out; may change on resume."""

    max_concurrent_requests: PositiveInt | None = Field(
        default=None, le=256, description="null: what the engine is best at"
    )
    request_timeout_s: float = Field(default=600, gt=0, description="seconds that one answer may take")
    attempts_per_item: PositiveInt = Field(
        default=3, le=20, description="tries before an item is an error row"
    )
    max_engine_restarts: NonNegativeInt = Field(
        default=3, description="restarts in a row without a single answer between them"
    )
    parts_per_dataset: PositiveInt = Field(default=1, description="slices that a dataset is asked in")
    lines_per_part: PositiveInt | None = Field(default=None, description="wins over parts_per_dataset")
    condition: Literal["control", "treatment", "both"] = Field(
        default="both", description="the arms of a prompt sweep that are asked"
    )
    deadline: ClockTime | None = Field(
        default=None, description="HH:MM, local: ask of every trial in turn, and have a report by then"
    )
    request_cache: bool = Field(
        default=True, description="take answers that the same request got before, in any trial or run"
    )
    vectors: Literal["cached", "force", "read-only"] = Field(
        default="cached",
        description="states of texts and trait vectors that are kept; force: make them anew, once a run; "
        "read-only: never make any",
    )
    step_down: Annotated[tuple[Concession, ...], AfterValidator(no_repeats)] = Field(
        default=get_args(Concession),
        description="what may be given up where memory runs out, the first of these first; [] is nothing",
    )
    memory_margin: float | None = Field(
        default=0.08,
        ge=0,
        lt=1,
        description="share of the free memory that stays free where a run begins; null: try, and estimate nothing",
    )
    gpu_lease: Annotated[Literal["wait", "refuse", "off"], BeforeValidator(off_is_a_word)] = Field(
        default="wait",
        description="where another run of this machine holds a model on a GPU that this one is to use: wait for it; "
        "refuse: the trials of the model fail at once; off: take no notice, and share the GPU. A run that holds its "
        "models on the processor, or on a server elsewhere, takes no GPU",
    )
    calculation_threads: PositiveInt | None = Field(
        default=None, description="of scores, statistics and reports; null: the physical cores there are"
    )
    calculate_while_generating: bool = Field(
        default=False, description="true: score a trial while another model generates, and slow it down"
    )
    parallel_models: Annotated[Literal["auto"] | PositiveInt, BeforeValidator(_auto_or_number)] = Field(
        default="auto",
        description="models that are held at the same time, at most, where they are expected to fit together; "
        "auto: several on a GPU and at servers of others, one at a time on the processor; 1: never two",
    )
    num_processes: PositiveInt = Field(
        default=1,
        description="processes that share the vectors of a best-of-K trial, a GPU each where there are any",
    )
    notify: Annotated[tuple[BlockName, ...], AfterValidator(no_repeats)] = Field(
        default=(),
        description="blocks of the Prefect server, as type/name (webhook/night, slack-webhook/team), that are told "
        "when the run has ended, how, and where its report is; OVERNIGHT_NOTIFY_URL in the environment is told, too",
    )
    pool: Name | None = Field(
        default=None,
        description="the work pool whose workers carry out the trials, a job a model, such as cluster; null: here",
    )
    job_variables: dict[str, Any] = Field(
        default={},
        description="of these jobs, as the pool knows them: {num_gpus: 2, time: '08:00:00', partition: gpu}",
    )
    engine: EngineSettings = EngineSettings()
    lens: LensExecution = LensExecution()
    telemetry: TelemetrySettings = TelemetrySettings()
    audit: AuditSettings = AuditSettings()
    pricing: PricingSpec = PricingSpec()
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="after")
    def _a_pool_needs_no_deadline(self) -> Self:
        if self.pool is not None and self.deadline is not None:
            raise ValueError(
                "deadline: it has models take turns on one machine, on a pool each has a job of its own; "
                "leave it out and bound the jobs by job_variables.time"
            )
        if self.job_variables and self.pool is None:
            raise ValueError("job_variables: they are those of a pool; name it in pool, or leave them out")
        return self

    def requests_at_once(self, engine: EngineKind) -> int:
        """Return how many requests are under way at a time."""
        of_the_server = self.engine.ollama.parallel if engine is EngineKind.OLLAMA else None
        return self.max_concurrent_requests or of_the_server or REQUESTS_AT_ONCE[engine]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The arms that are run, control first."""
        return tuple(c for c in Condition if self.condition in ("both", c.value))
