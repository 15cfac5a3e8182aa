"""The report of an uncertainty sweep as one page: everything inside, nothing fetched, every text escaped."""

import base64
from pathlib import Path

from overnight.report import wording
from overnight.report.foresight import foresight
from overnight.report.page import breakable
from overnight.report.sheets.ladder import steps_of_run
from overnight.report.sheets.machine import machine_sheets
from overnight.report.sheets.prices import local_costs
from overnight.report.templating import ours, page_environment, script_digest
from overnight.report.token_view import SCRIPT, STYLES, token_section
from overnight.report.uncertainty.results import UncertaintyReport
from overnight.report.uncertainty.run_sheets import HOW_TO_READ, where
from overnight.report.uncertainty.sections import results_of_run
from overnight.report.uncertainty.verdict import by_trial, verdict


def run_page(report: UncertaintyReport) -> str:
    """Return ``report.html``."""
    run = report.run
    scripts = [ours("tables.js"), *([ours(SCRIPT)] if report.tokens else [])]
    page: str = (
        page_environment()
        .get_template("uncertainty.html.j2")
        .render(
            run=run,
            report=report,
            verdict=verdict(report),
            by_trial=by_trial(report),
            sections=results_of_run(report),
            tokens=token_section(report.tokens) if report.tokens else "",
            style=ours("report.css", *STYLES, "uncertainty.css"),
            scripts=scripts,
            script_digests=[script_digest(script) for script in scripts],
            picture=_data_address,
            foresight=foresight(run.estimate),
            local=[sheet for sheet in [local_costs(run.trials)] if sheet],
            machine=machine_sheets(run),
            steps=steps_of_run(run),
            heading="trial",
            prices=next(
                (wording.hypothetical(trial.costs.pricing) for trial in run.trials if trial.costs), ""
            ),
            where=where(run),
            reading=HOW_TO_READ,
            breakable=breakable,
            w=wording,
        )
    )
    return page


def _data_address(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
