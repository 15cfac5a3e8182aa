"""What tokens cost at a hosted service, and what an hour of this machine costs."""

from typing import Annotated, NamedTuple

from pydantic import Field

from overnight.spec.base import Name, Spec

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
    usd_per_kwh: Price | None = Field(default=None, description="price of electricity, in US dollars")
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
