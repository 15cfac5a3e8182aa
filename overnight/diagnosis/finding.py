"""What a rule says: what it saw, what is wrong, by which numbers, and which setting to change to what."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class Severity(StrEnum):
    """How bad it is, the worst first."""

    PROBLEM = "problem"  # results are missing, or are not what they seem to be
    WARNING = "warning"  # time or quality is lost
    NOTE = "note"  # good to know


class Fact(NamedTuple):
    """One measured value."""

    name: str
    value: float | str
    unit: str = ""


class Remedy(NamedTuple):
    """One thing to do; with a setting, the value that it has and the one that it should have."""

    why: str
    setting: str | None = None  # the key as ``--set`` takes it
    old: Any = None
    new: Any = None

    @property
    def text(self) -> str:
        """The remedy as one line."""
        if self.setting is None:
            return self.why
        return f"{self.setting}: {_plain(self.old)} -> {_plain(self.new)} ({self.why})"


class Ineffective(NamedTuple):
    """What people try that changes nothing here."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong."""

    name: str
    severity: Severity
    score: float  # share of the draws, or of the time, that is at stake; in [0, 1]
    what: str
    where: tuple[str, ...] = ()  # trials, or models
    evidence: tuple[Fact, ...] = ()
    remedies: tuple[Remedy, ...] = ()  # the first is to be tried first
    ineffective: tuple[Ineffective, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What came of one rule: what it saw, or why it could not look."""

    name: str
    saw: str | None = None
    findings: tuple[Finding, ...] = ()
    not_looked_because: str | None = None


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings by severity, then by how much is at stake, then by name."""
    order = list(Severity)
    return sorted(findings, key=lambda f: (order.index(f.severity), -f.score, f.name))


def merged(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return one finding for all places that have the same settings to change: the worst, with all the places."""
    groups: dict[tuple[Any, ...], list[Finding]] = {}
    for finding in findings:
        settings = tuple((remedy.setting, str(remedy.old)) for remedy in finding.remedies)
        groups.setdefault((finding.name, settings), []).append(finding)
    return tuple(_one(group) for group in groups.values())


def _one(group: Sequence[Finding]) -> Finding:
    worst = ranked(group)[0]
    where = (*worst.where, *(place for each in group if each is not worst for place in each.where))
    return Finding(**{name: getattr(worst, name) for name in Finding.__slots__} | {"where": where})


def _plain(value: Any) -> str:
    return "null" if value is None else str(value)
