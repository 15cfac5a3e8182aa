"""Every further table of a trial, in the order in which the reports show them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from overnight.report.results import TrialReport
from overnight.report.sheets.models import models
from overnight.report.sheets.planning import power
from overnight.report.sheets.prices import cost_effectiveness
from overnight.report.sheets.selective_risk import selective_risk
from overnight.report.sheets.sheet import Sheet
from overnight.report.sheets.significance import effect_sizes, equivalence
from overnight.report.sheets.squad import squad
from overnight.report.sheets.subgroups import subgroups
from overnight.report.sheets.support import sensitivity
from overnight.report.wording import not_available


@dataclass(frozen=True, slots=True)
class _Source:
    heading: str
    sheets: Callable[[Mapping[str, Any]], list[Sheet]]


_SOURCES: Mapping[str, _Source] = MappingProxyType(
    {
        "squad": _Source("Official SQuAD 2.0 figures", squad),
        "selective_risk": _Source("Confidence", selective_risk),
        "subgroups": _Source("Subgroups", subgroups),
        "unsupported_sensitivity": _Source("Unsupported sensitivity", sensitivity),
        "power_analysis": _Source("Power", power),
        "mixed_models": _Source("All replies in one model", models),
        "cost_effectiveness": _Source("Cost-effectiveness", cost_effectiveness),
    }
)
NAMES = tuple(_SOURCES)


def significance_sheets(trial: TrialReport) -> list[Sheet]:
    """Return what ``significance.json`` says beyond the comparisons; nothing where it says no more."""
    return [sheet for sheet in (effect_sizes(trial), equivalence(trial)) if sheet]


def analysis_sheets(trial: TrialReport) -> list[tuple[str, list[Sheet]]]:
    """Return the tables of every analysis that was made, under its heading.

    An analysis that could not be made, or whose file is not as it should be, has a sheet that says so.
    """
    return [
        (source.heading, _sheets(name, source, trial))
        for name, source in _SOURCES.items()
        if name in trial.analyses or f"{name}.json" in trial.missing
    ]


def _sheets(name: str, source: _Source, trial: TrialReport) -> list[Sheet]:
    record = trial.analyses.get(name)
    if record is None:
        return [_without(source, trial.missing[f"{name}.json"])]
    if record.get("undefined_because"):
        return [_without(source, str(record["undefined_because"]))]
    try:
        return source.sheets(record)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return [_without(source, f"{name}.json cannot be read ({type(error).__name__}: {error})")]


def _without(source: _Source, reason: str) -> Sheet:
    return Sheet(title=source.heading, notes=(not_available(reason),))
