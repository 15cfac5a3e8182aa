"""Which tokens of a text have their state taken as a vector."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from overnight.spec.base import Spec


class VectorPositions(Spec):
    """Tokens of a text, by a rule that looks at nothing but the text itself.

    What is taken of a text depends neither on the other texts nor on how many positions are taken: of four random
    positions the first is the one that is taken alone.
    """

    policy: Literal["random", "midpoint", "last"] = Field(
        default="random", description="random: uniform from min_pos on; midpoint and last: one a text"
    )
    per_sequence: PositiveInt = Field(
        default=1, le=4096, description="positions of a text, none twice; fewer where it is too short"
    )
    min_pos: NonNegativeInt = Field(
        default=5, description="tokens before the first that may be taken; a shorter text is left out"
    )
    seed: NonNegativeInt = Field(default=42, lt=2**31, description="of random positions")
