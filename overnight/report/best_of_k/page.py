"""The report of a best-of-K sweep as one page: everything inside, nothing fetched, every text escaped."""

import base64
from pathlib import Path

from overnight.report import wording
from overnight.report.best_of_k.findings import verdict
from overnight.report.best_of_k.naming import HOW_TO_READ
from overnight.report.best_of_k.results import BestOfKReport
from overnight.report.best_of_k.sections import sections_of, where
from overnight.report.best_of_k.vectors_view import SCRIPT, STYLES, vectors_section
from overnight.report.page import breakable
from overnight.report.sheets.ladder import steps_of_run
from overnight.report.sheets.machine import machine_sheets
from overnight.report.templating import ours, page_environment, script_digest


def run_page(report: BestOfKReport) -> str:
    """Return ``report.html``."""
    run = report.run
    vectors = vectors_section(report)
    scripts = [ours("tables.js"), *([ours(SCRIPT)] if vectors else [])]
    sections = sections_of(report)
    n_vectors = sum(one.results.vectors.n_drawn for one in report.trials if one.results)
    page: str = (
        page_environment()
        .get_template("sections.html.j2")
        .render(
            run=run,
            report=report,
            verdict=verdict(report),
            sections=sections,
            classes="uncertainty best-of-k",
            facts=[wording.counted(n_vectors, "vector"), ", ".join(_models(report))],
            n_leading=1,  # the curve that the verdict is about
            inset=vectors,
            inset_after="costs" if any(each.anchor == "costs" for each in sections) else "findings",
            inset_anchor="vectors",
            inset_heading="Vectors and their texts",
            more_pictures="",
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


def _models(report: BestOfKReport) -> list[str]:
    return list(dict.fromkeys(one.trial.model for one in report.trials))


def _data_address(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
