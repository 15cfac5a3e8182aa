"""What is told of a run that has ended, to whoever is not there: how it ended, what it found, where the report is."""

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from overnight.store.manifest import TrialState, read_manifest
from overnight.store.run_folder import RunFolder

_ENDED = {
    TrialState.DONE: "is done",
    TrialState.FAILED: "failed",
    TrialState.STOPPED: "was cut off by its deadline",
    TrialState.PARTIAL: "is done as far as was wanted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNews:
    """What is told of a run."""

    name: str  # of the sweep
    kind: str
    run_id: str | None  # None: it did not come so far
    state: str  # done, failed, stopped, partial
    message: str | None  # what is wrong, or was left
    summary: str  # what the report begins with; empty where there is none
    report: str | None
    page: str | None
    host: str

    @property
    def subject(self) -> str:
        """One line."""
        ended = _ENDED.get(TrialState(self.state), self.state)
        return f"overnight: {self.name} {ended}"

    @property
    def text(self) -> str:
        """All of it, for people."""
        run = (
            f"{self.kind}, run {self.run_id}, on {self.host}"
            if self.run_id
            else f"{self.kind}, on {self.host}"
        )
        report = f"report: {self.report}" if self.report else None
        page = f"page: {self.page}" if self.page else None
        parts = (run, self.message, self.summary, "\n".join(line for line in (report, page) if line))
        return "\n\n".join(part for part in parts if part)

    def as_row(self) -> dict[str, Any]:
        """Return it for programs; ``text`` is what chat services show."""
        return {"text": f"{self.subject}\n\n{self.text}", "subject": self.subject, **asdict(self)}


def news_of(folder: RunFolder) -> RunNews:
    """Return what is told of a run, by its files."""
    manifest = read_manifest(folder)
    return RunNews(
        name=manifest.name,
        kind=manifest.kind,
        run_id=folder.run_id,
        state=manifest.state.value,
        message=manifest.error,
        summary=_beginning(folder.aggregate_report),
        report=_there(folder.aggregate_report),
        page=_there(folder.html_report),
        host=platform.node(),
    )


def news_of_failure(name: str, kind: str, run_id: str | None, error: Exception) -> RunNews:
    """Return what is told of a run that ended by an error of its own."""
    return RunNews(
        name=name,
        kind=kind,
        run_id=run_id,
        state=TrialState.FAILED.value,
        message=str(error) or type(error).__name__,
        summary="",
        report=None,
        page=None,
        host=platform.node(),
    )


def _beginning(report: Path) -> str:
    """Return what stands between the title of a report and its first heading."""
    if not report.is_file():
        return ""
    lines = report.read_text(encoding="utf-8").splitlines()[1:]
    end = next((index for index, line in enumerate(lines) if line.startswith("#")), len(lines))
    return "\n".join(lines[:end]).strip()


def _there(path: Path) -> str | None:
    return str(path.resolve()) if path.is_file() else None
