"""The uncertainty sweep: does the likelihood of an answer predict that it is right, by model and dataset?"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from overnight.spec.asking import Asking
from overnight.spec.base import Name, Probability, Spec, no_repeats
from overnight.spec.dataset import DatasetSpec
from overnight.spec.execution import Execution
from overnight.spec.experiment import Experiment
from overnight.spec.model import ModelSpec
from overnight.spec.sampling import Seeded, TopK, TopP
from overnight.spec.text_model import TextModelSpec

Names = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(no_repeats)]


class UncertaintySampling(Seeded):
    """The answers beside the greedy one, for the measures that need them."""

    samples_per_item: NonNegativeInt = Field(default=0, le=1000, description="0: the greedy answer alone")
    temperature: float = Field(default=0.5, gt=0, le=5, description="of the samples")
    top_p: TopP = Field(default=1.0, description="share of the probability that tokens are drawn from")
    top_k: TopK = Field(default=0, description="0 means no limit")


class UncertaintyStatistics(Spec):
    """Settings of the analysis."""

    seed: NonNegativeInt = Field(default=1337, description="of all resampling")
    resamples: PositiveInt = Field(default=2000, description="of the bootstrap")
    confidence: Probability = Field(default=0.95, description="level of the intervals")
    fewest_of_a_class: PositiveInt = Field(default=5, description="right answers, and wrong ones, of a cell")
    largest_missing_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="of the items of a cell that have a label and no score; with more there is no result",
    )
    largest_tie_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="of the pairs of a wrong and a right answer that score the same; with more there is no result",
    )


class UncertaintyExperiment(Experiment):
    """Everything that makes two runs the same experiment."""

    models: tuple[Name | ModelSpec, ...] = Field(
        min_length=1, description="names of files in models/, or models written out"
    )
    items_per_dataset: NonNegativeInt | None = Field(
        default=None, description="a seeded sample of this many of each dataset; null: as the dataset says"
    )
    asking: Asking = Asking()
    shots_from: dict[Name, Name | DatasetSpec] = Field(
        default={},
        description="by dataset, the dataset that its shots come from; else those of its items that are not asked",
    )
    max_new_tokens: PositiveInt = Field(default=150, description="of an answer")
    sampling: UncertaintySampling = UncertaintySampling()
    answerable_only: bool = Field(
        default=True,
        description="leave out items that their passage does not answer; there is no right answer to them",
    )
    relevance: Name | TextModelSpec | None = Field(
        default=None,
        description="the text model that says how relevant a token is; null: measures that need it are left out",
    )
    entailment: Name | TextModelSpec | None = Field(
        default=None,
        description="the text model that says which samples mean the same; null: those of equal words do",
    )
    judge: Name | ModelSpec | None = Field(
        default=None,
        description="the model that is asked whether an answer is right; needed for the label judge",
    )
    measures: Names | None = Field(default=None, description="null: all that what is there allows")
    labels: Names = Field(default=("em", "f1", "rouge_l"), description="what is called right")
    weighting_study: bool = Field(
        default=False, description="weigh tokens in 43 ways, choose on half of the items, judge on the other"
    )
    main_label: Name = Field(default="f1", description="the one that figures show")
    main_measure: Name = Field(default="g_nll", description="the one that figures show")
    statistics: UncertaintyStatistics = UncertaintyStatistics()


class UncertaintySweepSpec(Spec):
    """A whole uncertainty sweep: one YAML file."""

    kind: Literal["uncertainty-sweep"] = Field(
        default="uncertainty-sweep", description="always uncertainty-sweep"
    )
    name: Name = Field(description="what a run is called in lists and reports")
    description: str = Field(default="", description="the question, for people")
    experiment: UncertaintyExperiment
    execution: Execution = Execution()
