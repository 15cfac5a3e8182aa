"""What the Markdown reports have in common."""

from collections.abc import Iterable, Iterator, Sequence

from overnight.report.results import Excerpt, RunReport, TrialReport
from overnight.report.sheets.sheet import Sheet
from overnight.report.text import CELL_CHARS, cell
from overnight.report.wording import DRY_RUN, NOT_AVAILABLE, count, decimal


def table(head: Sequence[str], rows: Iterable[Sequence[str | Excerpt]], *, limit: int = CELL_CHARS) -> str:
    """Return a Markdown table; the texts are escaped here."""

    def escaped(text: str | Excerpt) -> str:
        if isinstance(text, Excerpt):
            return cell(text.text, limit=limit, n_chars=text.n_chars)
        return cell(text, limit=limit)

    lines = [list(map(escaped, head)), ["---"] * len(head), *(list(map(escaped, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def banner(is_dry_run: bool) -> list[str]:
    """Return what stands above numbers that are about no model."""
    return [f"> **{DRY_RUN}**"] if is_dry_run else []


def items_table(run: RunReport) -> str:
    """Return the items of a run by dataset and answerability."""
    return table(
        ["dataset", "type", "items", "answerable", "unanswerable"],
        [
            [
                d.dataset,
                d.type.value,
                count(d.n_items),
                count(d.n_items - d.n_unanswerable),
                count(d.n_unanswerable),
            ]
            for d in run.items
        ],
    )


def sheets_markdown(sheets: Iterable[Sheet], under: str = "", *, limit: int = CELL_CHARS) -> Iterator[str]:
    """Yield the blocks of some sheets: the title where it is not that of the section, table, notes.

    Args:
        sheets: to be written.
        under: the heading of the section.
        limit: characters of a cell.
    """
    for sheet in sheets:
        if sheet.rows:
            if sheet.title != under:
                yield f"### {cell(sheet.title)}"
            yield table(sheet.head, sheet.rows, limit=limit)
        yield from (cell(note, limit=2000) for note in sheet.notes)


def speed(trial: TrialReport) -> list[str]:
    """Return seconds of inference, answers per minute and completion tokens per second."""
    return [
        decimal(trial.inference_s) or NOT_AVAILABLE,
        decimal(trial.answers_per_minute) or NOT_AVAILABLE,
        decimal(trial.tokens_per_second) or NOT_AVAILABLE,
    ]


def missing(trial: TrialReport, name: str) -> str:
    """Return why a table of a trial is not there."""
    return f"{NOT_AVAILABLE}: {cell(trial.missing.get(name, f'nothing in {name}'), limit=1000)}"
