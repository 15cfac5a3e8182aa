"""What a benchmark says: a figure, its baseline, its target, and on what machine."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from overnight.store.files import write_json
from overnight.telemetry.environment import describe_environment


class NotMeasuredError(Exception):
    """A figure could not be taken; the message says why."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The repetitions of one measurement."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return _number(self.values[0])
        return f"{_number(min(self.values))} / {_number(self.median)} / {_number(max(self.values))}"

    def record(self) -> dict[str, Any]:
        """Return what stands in the JSON."""
        return {
            "min": min(self.values),
            "median": self.median,
            "max": max(self.values),
            "values": list(self.values),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is wanted of the median of the ratio, or of the value itself."""

    of: Literal["ratio", "value"]
    bound: Literal["at least", "at most"]
    limit: float

    def __str__(self) -> str:
        return f"{self.of} {self.bound} {self.limit:g}"

    def is_met(self, figure: "Figure") -> bool:
        """True where the median keeps the bound."""
        spread = figure.ratio if self.of == "ratio" else figure.value
        if spread is None:
            raise NotMeasuredError(f"{figure.name}: no baseline to take a ratio of")
        return spread.median >= self.limit if self.bound == "at least" else spread.median <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table. Value and baseline of one repetition were measured one after the other."""

    name: str
    unit: str
    value: Spread
    baseline: Spread | None = None
    baseline_name: str = ""
    target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> Spread | None:
        """Value over baseline, repetition by repetition."""
        if self.baseline is None:
            return None
        return Spread(tuple(v / b for v, b in zip(self.value.values, self.baseline.values, strict=True)))

    @property
    def verdict(self) -> str:
        """``pass`` or ``short`` of the target; nothing where there is none."""
        return "" if self.target is None else "pass" if self.target.is_met(self) else "short"

    def record(self) -> dict[str, Any]:
        """Return what stands in the JSON."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": self.value.record(),
            "baseline": self.baseline and {"name": self.baseline_name, **self.baseline.record()},
            "ratio": self.ratio and self.ratio.record(),
            "target": self.target and asdict(self.target),
            "verdict": self.verdict or None,
            "note": self.note or None,
        }

    def lines(self) -> list[str]:
        """Return the figure for people, min / median / max."""
        lines = [f"{self.name}", f"    {self.value} {self.unit}"]
        if self.baseline is not None:
            lines.append(f"    {self.baseline} {self.unit}   baseline: {self.baseline_name}")
            lines.append(f"    {self.ratio} x   ratio")
        if self.target is not None:
            lines.append(f"    target: {self.target}: {self.verdict}")
        if self.note:
            lines.append(f"    ({self.note})")
        return lines


def write_record(
    path: Path,
    *,
    benchmark: str,
    figures: Sequence[Figure],
    settings: dict[str, Any],
    not_measured: dict[str, str],
    load_before: tuple[float, ...] | None,
    curves: dict[str, Any] | None = None,
) -> None:
    """Write everything that was measured as strict JSON; ``curves`` are points by what grows and by stage."""
    write_json(
        path,
        {
            "schema_version": 1,
            "benchmark": benchmark,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "environment": describe_environment(),
            "load_average": {"before": load_before and list(load_before), "after": load_average()},
            "settings": settings,
            "figures": [figure.record() for figure in figures],
            "not_measured": not_measured,
            **({} if curves is None else {"curves": curves}),
        },
    )


def load_average() -> tuple[float, ...] | None:
    """Return how busy the machine is (1, 5, 15 minutes), where the system says."""
    return tuple(os.getloadavg()) if hasattr(os, "getloadavg") else None


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"  # noqa: PLR2004 - four digits are enough
