"""The steps down a ladder: what was asked for, what it was held on instead, and why."""

from collections.abc import Mapping
from datetime import datetime

from overnight.report import wording as w
from overnight.report.results import RunReport, TrialReport
from overnight.report.sheets.sheet import Row, Sheet

_TITLE = "Steps down for want of memory"
_HEAD = ("at", "from", "to", "changes", "reason")
_CHANGES = {"execution": "how it was run", "experiment": "the model that answered"}
_NOTES = (
    "Fewer requests at once and a shorter context change no answer. Another quantization or another model does: "
    "the trial began again with it, and no table holds answers of both.",
)


def steps_of_trial(trial: TrialReport) -> Sheet:
    """Return the steps that lie behind a trial; no rows where it was held as asked for."""
    rows = tuple(_row(step) for step in trial.rung_history)
    return Sheet(title=_TITLE, head=_HEAD, rows=rows, n_text=len(_HEAD), notes=_NOTES if rows else ())


def steps_of_run(run: RunReport) -> Sheet:
    """Return the steps of every model; no rows where all were held as asked for."""
    rows = tuple((block.model, *_row(step)) for block in run.blocks for step in block.rung_history)
    head = ("model", *_HEAD)
    return Sheet(title=_TITLE, head=head, rows=rows, n_text=len(head), notes=_NOTES if rows else ())


def _row(step: Mapping[str, str]) -> Row:
    changes = _CHANGES.get(step["changes"], step["changes"])
    return w.moment(datetime.fromisoformat(step["at"])), step["from"], step["to"], changes, step["reason"]
