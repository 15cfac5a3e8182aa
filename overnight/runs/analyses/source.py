"""What an analysis reads, and what every record has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overnight.ids import temperature_label
from overnight.planning.plan import Plan
from overnight.planning.trial import Trial
from overnight.runs.score_arrays import BoolArray, ScoreTable
from overnight.spec.pricing import PricingSpec
from overnight.spec.prompt_sweep import StatisticsSpec
from overnight.stats.pairs import FloatArray
from overnight.store.run_folder import TrialFolder

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSource:
    """One trial: its scores in columns, its predictions to be streamed, and how to look at them."""

    folder: TrialFolder
    plan: Plan
    trial: Trial
    table: ScoreTable
    settings: StatisticsSpec
    pricing: PricingSpec


def by_cell(source: AnalysisSource, record: Any) -> Record:
    """Return ``record(temperature, kind, items)`` for every temperature and type, as the other tables are cut."""
    kinds: Mapping[str, BoolArray] = source.table.of_kinds()
    return {
        temperature_label(temperature): {
            kind: record(temperature, kind, items) for kind, items in kinds.items()
        }
        for temperature in source.table.temperatures
    }


def defined(values: FloatArray, items: BoolArray) -> BoolArray:
    """Return which of some items have a value."""
    mask: BoolArray = items & ~(values != values)  # noqa: PLR0124 - NaN is what differs from itself
    return mask
