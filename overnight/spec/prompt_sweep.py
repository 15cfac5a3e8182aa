"""The prompt sweep: which system prompt x model x sampling setting answers better?

``experiment`` is identity: a change there is another run. ``execution`` is how it is run: it may change on
resume. The same type holds what a person writes (names of models, prompt sets and datasets) and what runs
(those names replaced by what they stand for), so that a run's ``effective_config.yaml`` is itself a sweep.
"""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from overnight.spec.base import Name, Probability, Spec, no_repeats
from overnight.spec.execution import Execution
from overnight.spec.experiment import Experiment
from overnight.spec.model import ModelSpec
from overnight.spec.prompt_set import PromptSet
from overnight.spec.sampling import MaxNewTokens, SamplingSpec, Temperatures, TopK, TopP


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
        return None if values is None else no_repeats(values)


class ExplicitTrial(Spec):
    """One trial written out; what it leaves out comes from ``defaults``."""

    model: Name | ModelSpec | None = None
    prompt_set: Name | PromptSet | None = None
    temps: Temperatures | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    max_new_tokens: MaxNewTokens | None = None


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
    analyses: Annotated[tuple[Analysis, ...], AfterValidator(no_repeats)] = Field(
        default=get_args(Analysis), description="what is written beside the comparisons; [] is nothing"
    )


class PromptSweepExperiment(Experiment):
    """Everything that makes two runs the same experiment."""

    sampling: SamplingSpec = SamplingSpec()
    defaults: Defaults = Defaults()
    sweep: Sweep | None = None
    trials: tuple[ExplicitTrial, ...] | None = Field(default=None, min_length=1)
    unsupported: UnsupportedSpec = UnsupportedSpec()
    scoring: ScoringSpec = ScoringSpec()
    statistics: StatisticsSpec = StatisticsSpec()


class PromptSweepSpec(Spec):
    """A whole prompt sweep: one YAML file."""

    kind: Literal["prompt-sweep"] = "prompt-sweep"
    name: Name
    description: str = ""
    experiment: PromptSweepExperiment
    execution: Execution = Execution()
