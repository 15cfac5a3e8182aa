"""A table in words, which every report writes as it stands."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overnight.ids import number_label
from overnight.report import wording

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line from 0 to 1 on both axes; drawn on the page alone."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Some curves with the same axes."""

    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A titled table whose cells are texts, rounded already."""

    title: str
    head: Row = ()
    rows: tuple[Row, ...] = ()
    n_text: int = 2  # columns at the left that are no numbers
    notes: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()


def cells(results: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, str, Any]]:
    """Yield temperature, type and what is said of them, in order."""
    for temperature in sorted(results, key=float):
        for kind in sorted(results[temperature]):
            yield number_label(float(temperature)), kind, results[temperature][kind]


def bounds(pair: Sequence[float] | None) -> str:
    """Return an interval of differences in points, or nothing where there is none."""
    return "" if pair is None else f"{wording.points(pair[0])} to {wording.points(pair[1])}"


def plain_bounds(pair: Sequence[float] | None) -> str:
    """Return an interval of plain numbers, or nothing where there is none."""
    return "" if pair is None else f"{wording.decimal(pair[0], 3)} to {wording.decimal(pair[1], 3)}"


def yes_no(value: bool | None) -> str:
    """Return a truth, or nothing where it is not known."""
    return "" if value is None else "yes" if value else "no"
