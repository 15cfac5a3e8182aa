"""The trait capture: how strongly does each token, layer and sublayer express a trait?"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from overnight.activations.points import SUBLAYERS, Component
from overnight.activations.positions import Positions
from overnight.errors import UsageError
from overnight.spec.base import APART, Name, Probability, Spec, are_apart, no_repeats
from overnight.spec.dataset import DatasetSpec
from overnight.spec.execution import Execution
from overnight.spec.experiment import Experiment
from overnight.spec.model import ModelSpec
from overnight.spec.sampling import Seeded, Temperature, TopK, TopP
from overnight.spec.trait import TraitSpec


def _layer(value: object) -> object:
    if value != "best" and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ValueError("wanted best, or the number of a layer, from 0")
    return value


def _positions(text: str) -> str:
    try:
        Positions.parse(text)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return text


Components = Annotated[tuple[Component, ...], Field(min_length=1), AfterValidator(no_repeats)]
Layers = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(no_repeats)]
Method = Literal["mean_difference", "probe", "gradient", "pca"]


class CaptureSampling(Seeded):
    """How the replies are drawn."""

    temperature: Temperature = Field(default=0.0, description="0 is greedy")
    top_p: TopP = Field(default=1.0, description="share of the probability that tokens are drawn from")
    top_k: TopK = Field(default=0, description="0 means no limit")


class ReplySettings(Seeded):
    """How a trait that is given by instructions is shown: replies, and who says whether they show it."""

    max_new_tokens: PositiveInt = Field(default=150, description="of a reply")
    temperature: Temperature = Field(default=0.7, description="0 is greedy")
    top_p: TopP = Field(default=0.9, description="share of the probability that tokens are drawn from")
    judge: Literal["itself", "none"] = Field(
        default="itself", description="the model scores its own replies from 0 to 100; none: all are kept"
    )
    positive_at_least: float = Field(
        default=60, ge=0, le=100, description="score from which a reply shows the trait"
    )
    negative_at_most: float = Field(
        default=40, ge=0, le=100, description="score up to which a reply does not show it"
    )


class VectorSettings(Spec):
    """How trait vectors are made of contrastive texts."""

    method: Method = Field(
        default="mean_difference", description="how a direction is made of the states of both sides"
    )
    positions: Annotated[str, AfterValidator(_positions)] = Field(
        default="all[-8:]", description="whose states are averaged: all[-8:], last, mean, response[:5], ..."
    )
    layer: Annotated[Literal["best"] | NonNegativeInt, BeforeValidator(_layer)] = Field(
        default="best",
        description="of the vector that stands for the trait; best: by the accuracy on texts that are left out",
    )
    applied: Literal["per_layer", "one"] = Field(
        default="per_layer",
        description="per_layer: each point is projected on the vector of its own layer; one: all on the chosen one",
    )
    nulls: NonNegativeInt = Field(
        default=20,
        le=200,
        description="vectors of permuted labels that a projection is compared with; 0: no z",
    )
    permutations: PositiveInt = Field(
        default=100, le=10_000, description="of labels, for the accuracy by chance"
    )
    folds: int = Field(default=5, ge=3, le=50, description="parts of the texts, each left out once")
    drop_massive: float | None = Field(
        default=None,
        gt=1,
        description="leave out dimensions whose mean magnitude is more than so many times the median; null: none",
    )
    replies: ReplySettings = Field(
        default=ReplySettings(), description="for traits that are given by instructions"
    )
    seed: NonNegativeInt = Field(default=2025, lt=2**31, description="of permutations and folds")


class RawStates(Spec):
    """States that are kept as they are, for vectors of tomorrow."""

    sublayers: Components = Field(
        default=(Component.RESIDUAL_OUT,), description="of each layer, what is kept"
    )
    layers: Layers | None = Field(default=None, description="null: all")
    dtype: Literal["bfloat16", "float16", "float32"] = Field(
        default="bfloat16", description="that states are kept in"
    )


class Internals(Spec):
    """Everything inside one layer, for the prompts of some groups."""

    layer: NonNegativeInt = Field(description="its number, from 0")
    datasets: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(no_repeats)] = Field(
        description="groups of prompts for which it is looked into"
    )
    attention: bool = Field(default=True, description="the weights of every head")


class CaptureStatistics(Spec):
    """Settings of what is said about the projections."""

    confidence: Probability = Field(default=0.95, description="level of the intervals")


class TraitCaptureExperiment(Experiment):
    """Everything that makes two runs the same experiment; ``datasets`` are the groups of prompts."""

    models: tuple[Name | ModelSpec, ...] = Field(
        min_length=1, description="names of files in models/, or models written out"
    )
    traits: tuple[Name | TraitSpec, ...] = Field(
        min_length=1, description="names of folders in traits/, or traits written out"
    )
    system_prompt: str | None = Field(
        default=None, min_length=1, description="what stands before every prompt; null: nothing"
    )
    max_new_tokens: Annotated[tuple[PositiveInt, ...], Field(min_length=1), AfterValidator(no_repeats)] = (
        Field(default=(50,), description="of a reply; each number is a trial of its own")
    )
    sampling: CaptureSampling = CaptureSampling()
    vectors: VectorSettings = VectorSettings()
    sublayers: Components = Field(default=SUBLAYERS, description="of each layer, what is projected")
    layers: Layers | None = Field(default=None, description="that are projected; null: all")
    attention_summary: bool = Field(
        default=False, description="where each token looks, layer by layer; slower, without fused attention"
    )
    raw: RawStates | None = Field(default=None, description="null: no state is kept")
    internals: Internals | None = Field(default=None, description="null: no layer is looked into")
    statistics: CaptureStatistics = CaptureStatistics()

    @model_validator(mode="after")
    def _distinct_traits(self) -> Self:
        names = [trait if isinstance(trait, str) else trait.name for trait in self.traits]
        if not are_apart(names):
            raise ValueError(f"experiment.traits names a trait twice: {names!r}; {APART}")
        return self

    @model_validator(mode="after")
    def _known_groups(self) -> Self:
        names = [each.name if isinstance(each, DatasetSpec) else each for each in self.datasets]
        for name in self.internals.datasets if self.internals else ():
            if name not in names:
                raise ValueError(
                    f"experiment.internals.datasets: {name!r} is no dataset of the experiment; "
                    f"there are: {', '.join(names)}"
                )
        return self


class TraitCaptureSpec(Spec):
    """A whole trait capture: one YAML file."""

    kind: Literal["trait-capture"] = Field(default="trait-capture", description="always trait-capture")
    name: Name = Field(description="what a run is called in lists and reports")
    description: str = Field(default="", description="the question, for people")
    experiment: TraitCaptureExperiment
    execution: Execution = Execution()
