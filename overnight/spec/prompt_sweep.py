"""The prompt sweep: which system prompt x model x sampling setting answers better?

``experiment`` is identity: a change there is another run. ``execution`` is how it is run: it may change on
resume. The same type holds what a person writes (names of models, prompt sets and datasets) and what runs
(those names replaced by what they stand for), so that a run's ``effective_config.yaml`` is itself a sweep.
"""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from overnight.records import Condition
from overnight.spec.audit import AuditSettings
from overnight.spec.base import ClockTime, Name, Spec
from overnight.spec.dataset import DatasetSpec
from overnight.spec.engine_ollama import OllamaSettings
from overnight.spec.engine_openai import OpenAISettings
from overnight.spec.engine_transformers import TransformersSettings
from overnight.spec.model import REQUESTS_AT_ONCE, EngineKind, ModelSpec
from overnight.spec.pricing import Discount, HostedPrice, LocalTariff, Price, Rates
from overnight.spec.prompt_set import PromptSet
from overnight.spec.telemetry import TelemetrySettings


def _no_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"a value stands twice in {list(values)!r}; take one out")
    return values


def _auto_or_number(value: object) -> object:
    if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError("wanted auto, or how many models at most, 1 or more")
    return value


Temperature = Annotated[float, Field(ge=0, le=5)]
# Arms of one trial: a temperature that stood twice would be an arm that is asked, and scored, twice.
Temperatures = Annotated[tuple[Temperature, ...], Field(min_length=1), AfterValidator(_no_repeats)]
TopP = Annotated[float, Field(gt=0, le=1)]
TopK = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(gt=0, lt=1)]


class MaxNewTokens(Spec):
    """The longest completion, by how the question is asked; in tokens."""

    closed: PositiveInt = 64
    open: PositiveInt = 64


class MaxNewTokensAxis(Spec):
    """Lists of longest completions; the axis is their product."""

    closed: tuple[PositiveInt, ...] | None = Field(default=None, min_length=1)
    open: tuple[PositiveInt, ...] | None = Field(default=None, min_length=1)


class Defaults(Spec):
    """What a trial has where the sweep does not vary it."""

    model: Name | ModelSpec | None = None
    prompt_set: Name | PromptSet | None = None
    temps: Temperatures = (0.0,)
    top_p: TopP = 1.0
    top_k: TopK = Field(default=50, description="0 means no limit")
    max_new_tokens: MaxNewTokens = MaxNewTokens()


class Sweep(Spec):
    """Axes whose product is the grid of trials; temperatures are arms inside each trial."""

    models: tuple[Name | ModelSpec, ...] | None = Field(default=None, min_length=1)
    prompt_sets: tuple[Name | PromptSet, ...] | None = Field(default=None, min_length=1)
    temps: Temperatures | None = None
    top_p: tuple[TopP, ...] | None = Field(default=None, min_length=1)
    top_k: tuple[TopK, ...] | None = Field(default=None, min_length=1)
    max_new_tokens: MaxNewTokensAxis = MaxNewTokensAxis()

    @field_validator("top_p", "top_k", "models", "prompt_sets")
    @classmethod
    def _distinct(cls, values: tuple[object, ...] | None) -> tuple[object, ...] | None:
        return None if values is None else _no_repeats(values)


class ExplicitTrial(Spec):
    """One trial written out; what it leaves out comes from ``defaults``."""

    model: Name | ModelSpec | None = None
    prompt_set: Name | PromptSet | None = None
    temps: Temperatures | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    max_new_tokens: MaxNewTokens | None = None


class SamplingSpec(Spec):
    """What the draws of every trial have in common."""

    samples_per_item: PositiveInt = Field(default=1, description="draws per item at a temperature above 0")
    seed: NonNegativeInt = Field(default=2025, lt=2**31)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    logprobs: bool = Field(
        default=True, description="keep how likely the model found each answer, for the risk-coverage curve"
    )


class UnsupportedSpec(Spec):
    """When an open-book reply counts as not borne out by its passage."""

    strategy: Literal["overlap", "baseline"] = "overlap"
    min_token_overlap: float = Field(default=0.6, gt=0, le=1)


class ScoringSpec(Spec):
    """What is scored besides exact match and F1, which every item has by its own rule."""

    rouge_l: bool = Field(
        default=False, description="ROUGE-L, and ROUGE accuracy where there are wrong answers"
    )


TestedMetric = Literal["em", "f1", "abstain_rate", "false_answer_rate", "unsupported_rate", "rouge_l"]
Analysis = Literal[
    "selective_risk",
    "subgroups",
    "power_analysis",
    "mixed_models",
    "unsupported_sensitivity",
    "cost_effectiveness",
]


class StatisticsSpec(Spec):
    """Settings of the comparisons."""

    resamples: PositiveInt = Field(default=5000, description="of the bootstrap and of the permutation test")
    confidence: Probability = 0.95
    seed: NonNegativeInt = 1337
    tost_margins: dict[TestedMetric, PositiveFloat] = Field(
        default={"em": 0.01, "f1": 0.01},
        description="differences too small to matter, by metric; what is not named is not tested for equivalence",
    )
    tost_alpha: float = Field(default=0.05, gt=0, lt=0.5, description="level of each one-sided test")
    analyses: Annotated[tuple[Analysis, ...], AfterValidator(_no_repeats)] = Field(
        default=get_args(Analysis), description="what is written beside the comparisons; [] is nothing"
    )


class PricingSpec(Spec):
    """Prices of the same tokens at a hosted service, for comparison only; and the tariff of this machine."""

    input_per_million: Price = Field(default=0.15, description="USD, of a model that the table does not have")
    output_per_million: Price = Field(
        default=0.60, description="USD, of a model that the table does not have"
    )
    batch_discount: Discount = Field(default=1.0, description="multiplier of both prices; 0.5 halves them")
    provider: Name | None = Field(default=None, description="whose prices these are")
    table: dict[str, HostedPrice] = Field(default={}, description="prices by the name of the model")
    local: LocalTariff = LocalTariff()

    def rates(self, model: str | None) -> Rates:
        """Return what a model's tokens cost: its row of the table, or the two prices for all others."""
        row = self.table.get(model) if model is not None else None
        if row is None:
            return Rates(
                self.input_per_million, self.output_per_million, self.batch_discount, is_from_table=False
            )
        discount = self.batch_discount if row.batch_discount is None else row.batch_discount
        return Rates(row.input_per_mtok, row.output_per_mtok, discount, is_from_table=True)


class PromptSweepExperiment(Spec):
    """Everything that makes two runs the same experiment."""

    datasets: tuple[Name | DatasetSpec, ...] = Field(min_length=1)
    limit_items: NonNegativeInt | None = Field(
        default=None, description="a seeded sample of this many items over all datasets; null is all of them"
    )
    sampling: SamplingSpec = SamplingSpec()
    defaults: Defaults = Defaults()
    sweep: Sweep | None = None
    trials: tuple[ExplicitTrial, ...] | None = Field(default=None, min_length=1)
    unsupported: UnsupportedSpec = UnsupportedSpec()
    scoring: ScoringSpec = ScoringSpec()
    statistics: StatisticsSpec = StatisticsSpec()
    dry_run: bool = Field(default=False, description="rehearse with synthetic answers; no model is loaded")

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [dataset if isinstance(dataset, str) else dataset.name for dataset in self.datasets]
        if len(set(names)) < len(names):
            raise ValueError(f"experiment.datasets names a dataset twice: {names!r}; take one out")
        return self


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
    startup_timeout_s: float = Field(default=300, gt=0)
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
    request_timeout_s: float = Field(default=600, gt=0)
    attempts_per_item: PositiveInt = Field(
        default=3, le=20, description="tries before an item is an error row"
    )
    max_engine_restarts: NonNegativeInt = Field(
        default=3, description="restarts in a row without a single answer between them"
    )
    parts_per_dataset: PositiveInt = 1
    lines_per_part: PositiveInt | None = Field(default=None, description="wins over parts_per_dataset")
    condition: Literal["control", "treatment", "both"] = "both"
    deadline: ClockTime | None = Field(
        default=None, description="HH:MM, local: ask of every trial in turn, and have a report by then"
    )
    request_cache: bool = Field(
        default=True, description="take answers that the same request got before, in any trial or run"
    )
    step_down: Annotated[tuple[Concession, ...], AfterValidator(_no_repeats)] = Field(
        default=get_args(Concession),
        description="what may be given up where memory runs out, the first of these first; [] is nothing",
    )
    memory_margin: float | None = Field(
        default=0.08,
        ge=0,
        lt=1,
        description="share of the free memory that stays free where a run begins; null: try, and estimate nothing",
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
    engine: EngineSettings = EngineSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    audit: AuditSettings = AuditSettings()
    pricing: PricingSpec = PricingSpec()

    def requests_at_once(self, engine: EngineKind) -> int:
        """Return how many requests are under way at a time."""
        of_the_server = self.engine.ollama.parallel if engine is EngineKind.OLLAMA else None
        return self.max_concurrent_requests or of_the_server or REQUESTS_AT_ONCE[engine]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The arms that are run, control first."""
        return tuple(c for c in Condition if self.condition in ("both", c.value))


class PromptSweepSpec(Spec):
    """A whole prompt sweep: one YAML file."""

    kind: Literal["prompt-sweep"] = "prompt-sweep"
    name: Name
    description: str = ""
    experiment: PromptSweepExperiment
    execution: Execution = Execution()
