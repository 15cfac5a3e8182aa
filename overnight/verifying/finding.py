"""What is wrong with a file."""

from dataclasses import dataclass, field
from pathlib import Path

from overnight.errors import said_below


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with one file of a run."""

    file: str  # relative to the folder of the run
    found: str
    wanted: str
    remedy: str


@dataclass(slots=True)
class Check:
    """What was looked at, and what is wrong with it."""

    files: set[str] = field(default_factory=set)  # by their names in the folder of the run
    findings: list[Finding] = field(default_factory=list)


def finding_of(run: Path, error: Exception, *, file: str, wanted: str, remedy: str) -> Finding:
    """Return a finding from an error of ours, whose message begins with the file and may end with the remedy."""
    text = said_below(run, error).removeprefix(f"{file}: ").removesuffix(f"; {remedy}")
    if text.startswith(f"{file}:"):
        text = f"line {text.removeprefix(f'{file}:')}"
    before, comma, after = text.partition(", wanted ")
    return Finding(file=file, found=before, wanted=after if comma else wanted, remedy=remedy)
