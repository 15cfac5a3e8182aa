"""How answers are drawn."""

from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from overnight.spec.base import Spec, no_repeats

Temperature = Annotated[float, Field(ge=0, le=5)]
# Arms of one trial: a temperature that stood twice would be an arm that is asked, and scored, twice.
Temperatures = Annotated[tuple[Temperature, ...], Field(min_length=1), AfterValidator(no_repeats)]
TopP = Annotated[float, Field(gt=0, le=1)]
TopK = Annotated[int, Field(ge=0)]


class MaxNewTokens(Spec):
    """The longest completion, by how the question is asked; in tokens."""

    closed: PositiveInt = Field(default=64, description="of an answer from memory")
    open: PositiveInt = Field(default=64, description="of an answer from a passage")


class Seeded(Spec):
    """What all sampling begins with."""

    seed: NonNegativeInt = Field(default=2025, lt=2**31, description="of all that is drawn at random here")


class SamplingSpec(Seeded):
    """What the draws of every trial have in common."""

    samples_per_item: PositiveInt = Field(default=1, description="draws per item at a temperature above 0")
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="texts that end an answer where they are written"
    )
    logprobs: bool = Field(
        default=True, description="keep how likely the model found each answer, for the risk-coverage curve"
    )
