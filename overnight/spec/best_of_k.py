"""The best-of-K sweep: how much of an activation does the best of K texts recover?"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from overnight.spec.base import APART, Name, Probability, Spec, are_apart, no_repeats
from overnight.spec.execution import Execution
from overnight.spec.experiment import Experiment
from overnight.spec.lens import LensSpec
from overnight.spec.model import ModelSpec
from overnight.spec.positions import VectorPositions
from overnight.spec.sampling import Seeded, Temperatures, TopK, TopP

Counts = Annotated[tuple[PositiveInt, ...], Field(min_length=1), AfterValidator(no_repeats)]


class BestOfKSampling(Seeded):
    """How texts are drawn; each draw has random numbers of its own, by its vector and its number."""

    temperatures: Temperatures = Field(
        default=(1.0,), description="each is a trial of its own; 0 draws nothing"
    )
    top_p: TopP = Field(default=1.0, description="share of the probability that tokens are drawn from")
    top_k: TopK = Field(default=0, description="0 means no limit")

    @model_validator(mode="after")
    def _draws_something(self) -> Self:
        if 0 in self.temperatures:
            raise ValueError(
                "temperatures: found 0, at which all texts of a vector are one; wanted more than 0"
            )
        return self


class BestOfKStatistics(Spec):
    """Settings of what is said about recovery."""

    confidence: Probability = Field(default=0.95, description="level of the intervals")
    bootstrap: bool = Field(default=True, description="false: no intervals, whose fields are null then")
    n_resamples: PositiveInt = Field(default=1000, description="of the texts that vectors are from")
    by_role: bool = Field(
        default=True, description="recovery by who says the token, where texts are conversations"
    )
    seed: NonNegativeInt = Field(
        default=42, lt=2**31, description="of resamples, and of the texts of baselines"
    )


class BestOfKExperiment(Experiment):
    """Everything that makes two runs the same experiment; ``datasets`` are texts, ``limit_items`` counts these."""

    models: tuple[Name | ModelSpec, ...] = Field(
        min_length=1, description="names of files in models/, or models written out"
    )
    lenses: tuple[Name | LensSpec, ...] = Field(
        min_length=1, description="names of files in lenses/, or lenses written out"
    )
    k_values: Counts = Field(
        default=(1, 2, 4, 8, 16, 32, 64), description="numbers of texts of which the best is kept"
    )
    positions: VectorPositions = VectorPositions()
    max_vectors: PositiveInt | None = Field(
        default=None, description="vectors of a dataset at most, the first ones; null: all"
    )
    sampling: BestOfKSampling = BestOfKSampling()
    encode: Literal["text", "tokens"] = Field(
        default="text",
        description="what the encoder reads: the text, made into tokens anew, or the tokens that were drawn",
    )
    kept: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="numbers that vectors and reconstructions are kept in"
    )
    statistics: BestOfKStatistics = BestOfKStatistics()

    @property
    def n_draws(self) -> int:
        """Texts that are drawn of each vector: the largest K."""
        return max(self.k_values)

    @model_validator(mode="after")
    def _distinct_lenses(self) -> Self:
        names = [lens if isinstance(lens, str) else lens.name for lens in self.lenses]
        if not are_apart(names):
            raise ValueError(f"experiment.lenses names a lens twice: {names!r}; {APART}")
        return self


class BestOfKSpec(Spec):
    """A whole best-of-K sweep: one YAML file."""

    kind: Literal["best-of-k-sweep"] = Field(default="best-of-k-sweep", description="always best-of-k-sweep")
    name: Name = Field(description="what a run is called in lists and reports")
    description: str = Field(default="", description="the question, for people")
    experiment: BestOfKExperiment
    execution: Execution = Execution()
