"""Single answers: those that a measure was most mistaken about, and those that have no value."""

from collections.abc import Iterator, Sequence

from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet
from overnight.report.uncertainty.naming import label_title, measure_title
from overnight.report.uncertainty.results import Section, UncertaintyReport
from overnight.uncertainty.analysis import Analysis, ErrorRow, TrialResult

_LONGEST = 300  # characters of a text
_MOST_REFERENCES = 3


def errors(report: UncertaintyReport, analysis: Analysis, trials: Sequence[TrialResult]) -> Section:
    """Return the most certain wrong answers and the least certain right ones of each trial."""
    title, label = measure_title(analysis.measure), label_title(analysis.label)
    head = ("question", "answer", "gold answers", "item", title, "rank")
    sheets = []
    for trial in trials:
        for kind, rows in (
            ("most certain wrong answers", trial.most_certain_wrong),
            ("least certain right answers", trial.least_certain_right),
        ):
            if rows:
                sheets.append(
                    Sheet(
                        title=f"{report.label(trial.slug)}: {kind}",
                        head=head,
                        rows=tuple(_error_row(one) for one in rows),
                        n_text=4,
                    )
                )
    return Section(
        anchor="errors",
        heading="Surprising answers",
        n_open=2,
        sheets=tuple(sheets),
        paragraphs=(
            f"By {title}, right and wrong by {label}; rank 1 is the most certain answer of a trial, right or wrong.",
        )
        if sheets
        else (),
    )


def _error_row(one: ErrorRow) -> Row:
    value = w.significant(one.example.uncertainty)
    place = (one.example.key, value, w.count(one.example.certainty_rank))
    if one.text is None:
        return (w.not_available("the text is not known"), "", "", *place)
    golds = [*one.text.references[:_MOST_REFERENCES]]
    left = len(one.text.references) - len(golds)
    named = "; ".join(golds) + (f"; {left} more" if left else "")
    return (_short(one.text.question), _short(one.text.answer) or "(empty)", _short(named), *place)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\u2026"


def missing(report: UncertaintyReport, trials: Sequence[TrialResult]) -> Section:
    """Return every column that lacks values, with the reasons."""
    rows = tuple(_missing_rows(report, trials))
    n_columns = sum(
        len(found.measures) + len(found.labels)
        for trial in trials
        if (found := report.columns.get(trial.slug))
    )
    return Section(
        anchor="missing",
        heading="Missing values",
        sheets=(
            Sheet(
                title="Missing values",
                head=("trial", "column", "why", "items", "of"),
                rows=rows,
                n_text=3,
                notes=("Nothing was put in their place.",) if rows else (),
            ),
        ),
        paragraphs=() if rows else (f"Every item has a value in each of {w.counted(n_columns, 'column')}.",),
    )


def _missing_rows(report: UncertaintyReport, trials: Sequence[TrialResult]) -> Iterator[Row]:
    for trial in trials:
        found = report.columns.get(trial.slug)
        if found is None:
            continue
        groups: dict[tuple[str, int], list[str]] = {}
        titles = [
            *((measure_title(column.name), column) for column in found.measures),
            *((label_title(column.name), column) for column in found.labels),
        ]
        for title, column in titles:
            for gap in column.missing:
                groups.setdefault((gap.because, gap.n_items), []).append(title)
        for (because, n_items), named in groups.items():
            yield (
                report.label(trial.slug),
                ", ".join(named),
                because,
                w.count(n_items),
                w.count(found.n_items),
            )
