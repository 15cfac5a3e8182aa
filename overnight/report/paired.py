"""What a comparison of systems shows: the same values in Markdown, JSON and HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from overnight.runs.statistics_record import pair_record, system_record
from overnight.stats.multiplicity import adjust_all
from overnight.stats.systems import SystemPair, SystemsComparison

SCHEMA_VERSION = 1
SHOWN_BELOW = 0.05  # a difference with a smaller q-value is called shown
MAX_DIFFERING = 200  # items a table lists, the most contested first


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingItem:
    """An item on which systems have different scores."""

    name: str
    text: str
    target: str | None
    values: tuple[float | None, ...]  # in the order of the systems

    @property
    def spread(self) -> tuple[float, float]:
        """Return what sorts contested items first: the range, then how evenly the systems are split."""
        known = [value for value in self.values if value is not None]
        mean = sum(known) / len(known)
        return max(known) - min(known), sum(abs(value - mean) for value in known)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTable:
    """One metric on one set of items."""

    heading: str
    where: Mapping[str, str]  # what the heading says, by name, for programs
    comparison: SystemsComparison
    is_higher_better: bool | None
    is_share: bool  # scores lie in [0, 1], so they are shown in percent
    differing: tuple[DifferingItem, ...]  # at most `MAX_DIFFERING`
    n_differing: int
    is_check: bool = False  # systems that should agree; not among the tests that are adjusted together

    @property
    def shown(self) -> tuple[SystemPair, ...]:
        """The pairs whose difference is called shown, the largest first."""
        pairs = [p for p in self.comparison.pairs if p.q_value is not None and p.q_value < SHOWN_BELOW]
        return tuple(sorted(pairs, key=lambda pair: -abs(pair.mean_difference or 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting in which systems differ."""

    key: str
    values: tuple[str, ...]  # in the order of `PairedReport.setting_columns`


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedReport:
    """A whole comparison."""

    title: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]  # what a reader must know before the numbers
    setting_columns: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()
    tables: tuple[PairedTable, ...]


def differing_items(
    scores: Mapping[str, Mapping[str, float | None]], describe: Mapping[str, tuple[str, str, str | None]]
) -> tuple[tuple[DifferingItem, ...], int]:
    """Return the items on which defined scores differ, the most contested first, and how many there are.

    Args:
        scores: by system, by item key.
        describe: name, text and target by item key.
    """
    found = []
    for key in next(iter(scores.values())):
        values = tuple(items[key] for items in scores.values())
        if len(set(values) - {None}) > 1:
            name, text, target = describe[key]
            found.append(DifferingItem(name=name, text=text, target=target, values=values))
    found.sort(key=lambda item: item.spread, reverse=True)
    return tuple(found[:MAX_DIFFERING]), len(found)


def adjusted_together(tables: Sequence[PairedTable]) -> tuple[PairedTable, ...]:
    """Fill the q-values over every pair of every table, the checks among themselves."""
    results = list(tables)
    for is_check in (False, True):
        chosen = [index for index, table in enumerate(tables) if table.is_check is is_check]
        pairs = [pair for index in chosen for pair in tables[index].comparison.pairs]
        adjusted = iter(adjust_all([pair.p_value for pair in pairs]))
        for index in chosen:
            comparison = tables[index].comparison
            replaced = []
            for pair in comparison.pairs:
                q = next(adjusted)
                replaced.append(replace(pair, q_value=q.q_value, q_value_by=q.q_value_by, p_holm=q.p_holm))
            results[index] = replace(tables[index], comparison=replace(comparison, pairs=tuple(replaced)))
    return tuple(results)


def paired_record(report: PairedReport) -> dict[str, Any]:
    """Return the report as JSON; what is undefined is null and says why."""
    n_tests = sum(
        pair.p_value is not None for t in report.tables if not t.is_check for pair in t.comparison.pairs
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "title": report.title,
        "facts": dict(report.facts),
        "findings": list(report.findings),
        "settings": [
            {"key": setting.key, **dict(zip(report.setting_columns, setting.values, strict=True))}
            for setting in report.settings
        ],
        "difference": "second - first",
        "adjustment": "Benjamini-Hochberg (q_value), Benjamini-Yekutieli (q_value_by) and Holm (p_holm) over "
        "every pair of every table; tables that are checks among themselves",
        "n_tests": n_tests,
        "tables": [_table_record(table) for table in report.tables],
    }


def _table_record(table: PairedTable) -> dict[str, Any]:
    comparison = table.comparison
    return {
        **table.where,
        "is_check": table.is_check,
        "is_higher_better": table.is_higher_better,
        "n_differing_items": table.n_differing,
        **{key: value for key, value in asdict(comparison).items() if key not in ("systems", "pairs")},
        "systems": [system_record(mean) for mean in comparison.systems],
        "pairs": [pair_record(pair) for pair in comparison.pairs],
    }
