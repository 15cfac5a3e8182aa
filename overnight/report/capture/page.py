"""The report of a trait capture as one page: everything inside, nothing fetched, every text escaped."""

import base64
from pathlib import Path

from overnight.report import wording
from overnight.report.capture.findings import verdict
from overnight.report.capture.naming import HOW_TO_READ
from overnight.report.capture.results import CaptureReport
from overnight.report.capture.sections import sections_of, where
from overnight.report.capture.strips import SCRIPT, STYLES, strip_section
from overnight.report.page import breakable
from overnight.report.sheets.ladder import steps_of_run
from overnight.report.sheets.machine import machine_sheets
from overnight.report.templating import ours, page_environment, script_digest


def run_page(report: CaptureReport) -> str:
    """Return ``report.html``."""
    run = report.run
    scripts = [ours("tables.js"), *([ours(SCRIPT)] if report.strips else [])]
    page: str = (
        page_environment()
        .get_template("sections.html.j2")
        .render(
            run=run,
            report=report,
            verdict=verdict(report),
            sections=sections_of(report),
            classes="uncertainty capture",
            facts=[
                wording.counted(len(report.prompts), "prompt"),
                ", ".join(model.name for model in report.models),
            ],
            inset=strip_section(report.strips) if report.strips else "",
            n_leading=0,
            inset_after="groups",
            inset_anchor="strips",
            inset_heading="Token by token",
            more_pictures=", and in figures/prompts/ a heat map and curves of "
            f"{report.n_pictures_of_prompts} prompts"
            if report.n_pictures_of_prompts
            else "",
            style=ours("report.css", *STYLES, "uncertainty.css"),
            scripts=scripts,
            script_digests=[script_digest(script) for script in scripts],
            picture=_data_address,
            machine=machine_sheets(run),
            steps=steps_of_run(run),
            where=where(report),
            reading=HOW_TO_READ,
            breakable=breakable,
            w=wording,
        )
    )
    return page


def _data_address(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
