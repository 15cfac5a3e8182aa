"""What tokens cost at a hosted service, and what an hour of this machine costs."""

from typing import Annotated, NamedTuple

from pydantic import Field

from overnight.spec.base import Spec

Price = Annotated[float, Field(ge=0)]
Discount = Annotated[float, Field(gt=0, le=1)]


class HostedPrice(Spec):
    """What one model costs at a hosted service."""

    input_per_mtok: Price = Field(description="USD per million prompt tokens")
    output_per_mtok: Price = Field(description="USD per million completion tokens")
    batch_discount: Discount | None = Field(
        default=None, description="multiplier of both prices; null: that of the whole table"
    )


class LocalTariff(Spec):
    """What this machine costs; null where nobody said so."""

    watts: Price | None = Field(
        default=None, description="power while a trial generates, taken where no counter measures the energy"
    )
    usd_per_kwh: Price | None = None
    usd_per_hour: Price | None = Field(
        default=None, description="of the machine beyond its energy, or of a rented machine all in all"
    )


class Rates(NamedTuple):
    """The prices that one computation used."""

    input_per_million: float
    output_per_million: float
    batch_discount: float  # multiplier; 1 is no discount
    is_from_table: bool

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of some tokens in USD, the discount taken off."""
        prompt = prompt_tokens / 1_000_000 * self.input_per_million
        completion = completion_tokens / 1_000_000 * self.output_per_million
        return (prompt + completion) * self.batch_discount
