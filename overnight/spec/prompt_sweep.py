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

    closed: tuple[PositiveInt, ...] | None = Field(
        default=None, min_length=1, description="of an answer from memory"
    )
    open: tuple[PositiveInt, ...] | None = Field(
        default=None, min_length=1, description="of an answer from a passage"
    )


class Defaults(Spec):
    """What a trial has where the sweep does not vary it."""

    model: Name | ModelSpec | None = Field(
        default=None, description="name of a file in models/, or a model written out"
    )
    prompt_set: Name | PromptSet | None = Field(
        default=None, description="name of a file in prompts/, or a prompt set written out"
    )
    temps: Temperatures = Field(
        default=(0.0,), description="temperatures; each is an arm of every trial; 0 is greedy"
    )
    top_p: TopP = Field(default=1.0, description="share of the probability that tokens are drawn from")
    top_k: TopK = Field(default=50, description="0 means no limit")
    max_new_tokens: MaxNewTokens = MaxNewTokens()


class Sweep(Spec):
    """Axes whose product is the grid of trials; temperatures are arms inside each trial."""

    models: tuple[Name | ModelSpec, ...] | None = Field(
        default=None, min_length=1, description="names of files in models/, or models written out"
    )
    prompt_sets: tuple[Name | PromptSet, ...] | None = Field(
        default=None, min_length=1, description="names of files in prompts/, or prompt sets written out"
    )
    temps: Temperatures | None = Field(
        default=None, description="temperatures; each is an arm of every trial, not a trial; 0 is greedy"
    )
    top_p: tuple[TopP, ...] | None = Field(
        default=None, min_length=1, description="shares of the probability that tokens are drawn from"
    )
    top_k: tuple[TopK, ...] | None = Field(
        default=None, min_length=1, description="numbers of tokens that one is drawn from; 0 means no limit"
    )
    max_new_tokens: MaxNewTokensAxis = MaxNewTokensAxis()

    @field_validator("top_p", "top_k", "models", "prompt_sets")
    @classmethod
    def _distinct(cls, values: tuple[object, ...] | None) -> tuple[object, ...] | None:
        return None if values is None else no_repeats(values)


class ExplicitTrial(Spec):
    """One trial written out; what it leaves out comes from ``defaults``."""

    model: Name | ModelSpec | None = Field(default=None, description="name or model; null: the default")
    prompt_set: Name | PromptSet | None = Field(
        default=None, description="name or prompt set; null: the default"
    )
    temps: Temperatures | None = Field(default=None, description="temperatures; null: the default")
    top_p: TopP | None = Field(default=None, description="null: the default")
    top_k: TopK | None = Field(default=None, description="0 means no limit; null: the default")
    max_new_tokens: MaxNewTokens | None = Field(default=None, description="null: the default")


class UnsupportedSpec(Spec):
    """When an open-book reply counts as not borne out by its passage."""

    strategy: Literal["overlap", "baseline"] = Field(
        default="overlap",
        description="overlap: enough words of a reply are in its passage; baseline: the whole reply stands there",
    )
    min_token_overlap: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="share of a reply's words that are to be in the passage; for overlap",
    )


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
    confidence: Probability = Field(default=0.95, description="level of the intervals")
    seed: NonNegativeInt = Field(default=1337, description="of all resampling")
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
    sweep: Sweep | None = Field(
        default=None,
        description="axes whose product are the trials; null: the defaults are the one trial, or `trials` are listed",
    )
    trials: tuple[ExplicitTrial, ...] | None = Field(
        default=None, min_length=1, description="trials that are listed one by one, in place of a sweep"
    )
    unsupported: UnsupportedSpec = UnsupportedSpec()
    scoring: ScoringSpec = ScoringSpec()
    statistics: StatisticsSpec = StatisticsSpec()


class PromptSweepSpec(Spec):
    """A whole prompt sweep: one YAML file."""

    kind: Literal["prompt-sweep"] = Field(default="prompt-sweep", description="always prompt-sweep")
    name: Name = Field(description="what a run is called in lists and reports")
    description: str = Field(default="", description="the question, for people")
    experiment: PromptSweepExperiment
    execution: Execution = Execution()
