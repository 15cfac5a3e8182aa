"""One thing that was checked, and what checks are given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Status(StrEnum):
    """How it is."""

    OK = "ok"
    NOTE = "note"  # good to know; runs go on
    PROBLEM = "problem"  # a run would fail, or be wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked."""

    name: str
    status: Status
    what: str
    remedy: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)  # as measured, JSON

    def as_row(self) -> dict[str, Any]:
        """Return the check as JSON has it."""
        return {
            "name": self.name,
            "status": self.status.value,
            "what": self.what,
            "remedy": self.remedy,
            "values": dict(self.values),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where a check looks."""

    experiments: Path
    cache: Path
    config: Path
    environment: Mapping[str, str]
    is_online: bool = False  # ask services of the internet


Checker = Callable[[Surroundings], list[Check]]


def ok(name: str, what: str, /, **values: Any) -> Check:
    """Return a check that found nothing wrong."""
    return Check(name=name, status=Status.OK, what=what, values=values)


def note(name: str, what: str, remedy: str | None = None, /, **values: Any) -> Check:
    """Return a check that found something good to know."""
    return Check(name=name, status=Status.NOTE, what=what, remedy=remedy, values=values)


def problem(name: str, what: str, remedy: str, /, **values: Any) -> Check:
    """Return a check that found what would spoil a run."""
    return Check(name=name, status=Status.PROBLEM, what=what, remedy=remedy, values=values)
