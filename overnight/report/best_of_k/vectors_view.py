"""The vectors that a report shows, with where they were read and what was said of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from overnight.report import wording
from overnight.report.best_of_k.results import BestOfKReport, ShownText, ShownVector, SweepTrial
from overnight.report.sheets.sheet import Sheet
from overnight.report.templating import page_environment

SCRIPT: Final = "vectors.js"
STYLES: Final = ("explorer.css", "vectors.css")
_LONGEST: Final = 600  # characters of a text
_MOST_IN_MARKDOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    text: str
    shown: str
    value: float | None
    cosine: str
    cosine_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    trial: int
    order: int
    before: str
    token: str
    after: str
    about: str
    role: str | None
    best: _Said | None
    median: _Said | None


def vectors_section(report: BestOfKReport) -> Markup:
    """Return the section of the page; nothing where there is no vector to show."""
    rows = list(_rows(report))
    if not rows:
        return Markup()
    section = (
        page_environment()
        .get_template("vectors.html.j2")
        .render(
            rows=rows,
            n_all=sum(one.results.vectors.n_drawn for one in report.trials if one.results),
            trials=[one.label for one in report.trials],
            roles=sorted({row.role for row in rows if row.role}),
            w=wording,
        )
    )
    return Markup(section)  # noqa: S704 - every value in it was escaped


def vectors_sheets(report: BestOfKReport) -> Iterator[Sheet]:
    """Yield a table of a few vectors for each trial, for Markdown."""
    for one in report.trials:
        step = max(1, len(one.vectors) // _MOST_IN_MARKDOWN)
        shown = one.vectors[::step][:_MOST_IN_MARKDOWN]
        if shown:
            title = "Vectors and their texts"
            yield Sheet(
                title=f"{title}: {one.label}" if len(report.trials) > 1 else title,
                head=("where it was read", "best text", "its error", "median text", "its error"),
                rows=tuple(
                    (
                        f"{vector.before}\u27e6{vector.token}\u27e7{vector.after}",
                        *_cells(vector.best, _spread(one)),
                        *_cells(vector.median, _spread(one)),
                    )
                    for vector in shown
                ),
                notes=(
                    "In \u27e6\u27e7 the token whose state was taken. The best text is the oracle's choice, the median "
                    "text is what a draw is like; an error of 1 is that of always giving the mean vector.",
                ),
            )


def _cells(text: ShownText | None, spread: float | None) -> tuple[str, str]:
    if text is None:
        return wording.not_available("no draw succeeded"), ""
    return text.text or "(an empty text)", _error(text, spread)[0]


def _rows(report: BestOfKReport) -> Iterator[_Row]:
    order = 0
    for number, one in enumerate(report.trials):
        spread = _spread(one)
        for vector in one.vectors:
            yield _Row(
                trial=number,
                order=order,
                before=_end(vector.before),
                token=vector.token,
                after=vector.after[:_LONGEST],
                about=_about(report, one, vector),
                role=vector.role,
                best=_said(vector.best, spread),
                median=_said(vector.median, spread),
            )
            order += 1


def _about(report: BestOfKReport, one: SweepTrial, vector: ShownVector) -> str:
    parts = [f"{vector.source}, token {vector.position}", *([vector.role] if vector.role else [])]
    return " \u00b7 ".join([*parts, *([one.label] if len(report.trials) > 1 else [])])


def _said(text: ShownText | None, spread: float | None) -> _Said | None:
    if text is None:
        return None
    shown, value = _error(text, spread)
    return _Said(
        text=_beginning(text.text),
        shown=shown,
        value=value,
        cosine=wording.decimal(text.cosine, 2),
        cosine_value=text.cosine,
    )


def _error(text: ShownText, spread: float | None) -> tuple[str, float]:
    """Return an error as a share of the spread of the vectors, or as it is where they have none."""
    if not spread:
        return wording.significant(text.mse), text.mse
    return wording.decimal(text.mse / spread, 2), text.mse / spread


def _spread(one: SweepTrial) -> float | None:
    """Return the variance of the vectors, the mean over dimensions."""
    old = one.results.results_by_k if one.results else ()
    return next((each.mean_variance_mean_over_hidden for each in old if each.total_positions), None)


def _beginning(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\u2026"


def _end(text: str) -> str:
    return text if len(text) <= _LONGEST else f"\u2026{text[-_LONGEST:]}"
