"""How many of the answers are asked for a second time, alone, to see whether they depend on their neighbours."""

from typing import Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from overnight.spec.base import Spec


class AuditSettings(Spec):
    """The batch-invariance audit of every trial; it changes no answer and can fail no trial."""

    share: float = Field(
        default=0.02, ge=0, le=1, description="of the draws that were generated; 0: no draw is asked again"
    )
    at_least: NonNegativeInt = Field(default=4, description="draws of a trial, where it has as many")
    at_most: PositiveInt = Field(default=200, description="draws of a trial")
    # Neighbouring bf16 numbers between 16 and 32, where the largest logits of today's models lie, are 2**-3 apart.
    tie_gap: float = Field(
        default=0.125,
        gt=0,
        description="nats; two tokens that the model finds likely to within less than this are a tie",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.at_least > self.at_most:
            raise ValueError(
                f"at_least {self.at_least} is above at_most {self.at_most}; lower it or raise at_most"
            )
        return self
