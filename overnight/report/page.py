"""The report of a run as one page: everything inside, nothing fetched, every text escaped."""

import base64
import hashlib
import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from overnight.ids import number_label
from overnight.records import Condition
from overnight.report import wording
from overnight.report.forest import axis_limit, panels
from overnight.report.results import Outcome, RunReport
from overnight.report.text import visible
from overnight.report.verdict import verdict

_TEMPLATES = Path(__file__).parent / "templates"
_OUTCOMES = {
    Outcome.LOST: "right in control, wrong in treatment",
    Outcome.GAINED: "wrong in control, right in treatment",
    Outcome.BOTH_RIGHT: "both right",
    Outcome.BOTH_WRONG: "both wrong",
    Outcome.UNSCORED: "not scored in both arms",
}


def run_page(run: RunReport) -> str:
    """Return ``report.html``."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    shown = panels(run)
    page: str = environment.get_template("report.html.j2").render(
        run=run,
        verdict=verdict(run),
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        panels=shown,
        limit=axis_limit(shown),
        outcomes=_OUTCOMES,
        conditions=tuple(Condition),
        heading=wording.trial_heading(run),
        prices=next((wording.hypothetical(trial.costs.pricing) for trial in run.trials if trial.costs), ""),
        number_label=number_label,
        w=wording,
    )
    return page


def _shown(value: object) -> str:
    """Return what is printed for a value: nothing for None, a text with every character visible.

    Raises:
        ValueError: a number is not finite; no report shows one.
    """
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a report was to show {value}; a number that is not known is None")
    return visible(str(value))
