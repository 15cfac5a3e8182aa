"""The report of a run as one page: everything inside, nothing fetched, every text escaped."""

import re
from dataclasses import dataclass

from markupsafe import Markup

from overnight.ids import number_label
from overnight.records import Condition
from overnight.report import wording
from overnight.report.explorer import explorer
from overnight.report.foresight import foresight
from overnight.report.forest import ACCURACY, CONDUCT, axis_limit, panels
from overnight.report.results import TRUNCATED_TOO_OFTEN, Outcome, PromptText, RunReport, TrialReport
from overnight.report.sheets.collecting import analysis_sheets, significance_sheets
from overnight.report.sheets.invariance import audit_of_run
from overnight.report.sheets.ladder import steps_of_run
from overnight.report.sheets.machine import machine_sheets
from overnight.report.sheets.prices import local_costs
from overnight.report.sheets.sheet import Sheet
from overnight.report.sheets.trials import trials_sheets
from overnight.report.templating import ours, page_environment, script_digest
from overnight.report.text import visible
from overnight.report.verdict import verdict

_OUTCOMES = {
    Outcome.LOST: "right in control, wrong in treatment",
    Outcome.GAINED: "wrong in control, right in treatment",
    Outcome.BOTH_RIGHT: "both right",
    Outcome.BOTH_WRONG: "both wrong",
    Outcome.UNSCORED: "not scored in both arms",
}


def run_page(run: RunReport) -> str:
    """Return ``report.html``."""
    scripts = [ours("tables.js"), ours("explorer.js")]
    shown, others = panels(run), panels(run, CONDUCT)
    page: str = (
        page_environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            verdict=verdict(run),
            style=ours("report.css", "explorer.css"),
            scripts=scripts,
            script_digests=[script_digest(script) for script in scripts],
            groups=_groups(run),
            panels=shown,
            limit=axis_limit(shown),
            other_panels=others,
            other_limit=axis_limit(others),
            outcomes=_OUTCOMES,
            explorer=explorer(run),
            foresight=foresight(run.estimate),
            local=[sheet for sheet in [local_costs(run.trials)] if sheet],
            machine=machine_sheets(run),
            steps=steps_of_run(run),
            audit=audit_of_run(run),
            among=trials_sheets(run),
            more=_more(run),
            prompts=_prompts(run),
            where=wording.where_rows(run),
            reading=wording.HOW_TO_READ,
            temperatures=sorted({example.temperature for trial in run.trials for example in trial.examples}),
            cut=[(trial, arm) for trial in run.trials for arm in trial.truncated_too_often()],
            too_often=TRUNCATED_TOO_OFTEN,
            breakable=breakable,
            heading=wording.trial_heading(run),
            prices=next(
                (wording.hypothetical(trial.costs.pricing) for trial in run.trials if trial.costs), ""
            ),
            number_label=number_label,
            w=wording,
        )
    )
    return page


@dataclass(frozen=True, slots=True)
class _Group:
    """The columns of one metric in the table of trials."""

    metric: str
    name: str
    columns: tuple[str, ...]


def _groups(run: RunReport) -> list[_Group]:
    """Return the metrics that any trial has; columns that would be empty throughout are left out."""
    rows = [row for trial in run.trials for cell in trial.cells for row in cell.metrics]
    found = []
    for metric in (*ACCURACY, *CONDUCT):
        own = [row for row in rows if row.metric == metric]
        if not own and metric != "em":
            continue
        columns = ["control", "treatment", "difference"]
        columns += ["p"] if any(row.p_value is not None for row in own) else []
        columns += ["q"] if any(row.q_value is not None for row in own) else []
        columns += ["b", "c", "odds ratio"] if metric == "em" else []
        found.append(_Group(metric, wording.metric_name(metric), tuple(columns)))
    return found


def _more(run: RunReport) -> list[tuple[TrialReport, list[tuple[str, list[Sheet]]]]]:
    """Return the trials that have further analyses, with theirs."""
    found = []
    for trial in run.trials:
        own = significance_sheets(trial)
        parts = [*([("Significance", own)] if own else []), *analysis_sheets(trial)]
        if parts:
            found.append((trial, parts))
    return found


def _prompts(run: RunReport) -> list[tuple[PromptText, list[str]]]:
    """Return every system prompt once, with the trials that used it."""
    found: dict[tuple[Condition, str], tuple[PromptText, list[str]]] = {}
    for trial in run.trials:
        for prompt in trial.prompts:
            found.setdefault((prompt.condition, prompt.sha256), (prompt, []))[1].append(trial.label)
    return list(found.values())


def breakable(label: str) -> Markup:
    """Return a name that may go on in the next line after an underscore or a hyphen."""
    parts = re.split("(?<=[_-])", visible(label))
    return Markup("<wbr>").join(parts)
