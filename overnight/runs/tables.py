"""The tables of a trial as files: their columns, and how they are read and written.

Tables are streamed: memory does not grow with the number of rows, nor with the length of the replies.
"""

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from overnight.errors import StoreError
from overnight.store.files import atomic_writer

PREDICTION_COLUMNS = (
    "custom_id",
    "dataset",
    "item_id",
    "condition",
    "temp",
    "sample_index",
    "type",
    "request_id",
    "finish_reason",
    "response_text",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "mean_logprob",
)
SCORE_COLUMNS = (
    "dataset",
    "item_key",
    "type",
    "condition",
    "temp",
    "em",
    "f1",
    "abstain_rate",
    "false_answer_rate",
    "unsupported_rate",
    "em_std",
    "f1_std",
    "abstain_rate_std",
    "false_answer_rate_std",
    "unsupported_rate_std",
    "n_samples",
    "empty_rate",
    "truncated_rate",
    "rouge_l",
    "rouge_l_std",
    "rouge_accuracy",
    "confidence",
    "cluster",
    "answerable",
)
# What every table has, also one that an earlier version wrote; the columns after these came later.
_FIRST_PREDICTION_COLUMNS = PREDICTION_COLUMNS[: PREDICTION_COLUMNS.index("total_tokens") + 1]
_FIRST_SCORE_COLUMNS = SCORE_COLUMNS[: SCORE_COLUMNS.index("unsupported_rate") + 1]

# A model may write a megabyte in one reply; Python's default refuses fields of more than 128 kB.
csv.field_size_limit(1 << 30)


class RowWriter(Protocol):
    """What writes rows; the type of ``csv.writer`` has no name."""

    def writerow(self, row: Iterable[Any], /) -> Any:
        """Write one row."""


def read_scores(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a ``per_item_scores.csv``; a column that an older table lacks is empty.

    Raises:
        StoreError: the file is missing, has other columns, or a row that is cut.
    """
    yield from read_table(path, _FIRST_SCORE_COLUMNS, SCORE_COLUMNS)


def read_predictions(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a ``predictions.csv``; a column that an older table lacks is empty.

    Raises:
        StoreError: the file is missing, has other columns, or a row that is cut.
    """
    yield from read_table(path, _FIRST_PREDICTION_COLUMNS, PREDICTION_COLUMNS)


@contextmanager
def table_writer(path: Path, columns: Iterable[str]) -> Iterator[RowWriter]:
    """Give a writer of rows under a heading; the table is there in full or not at all."""
    with atomic_writer(path) as file:
        table = csv.writer(_UnixLines(file), lineterminator="\r\n")
        table.writerow(columns)
        yield table


def cell(value: Any) -> Any:
    """Return a value as it stands in a table: None is empty, a float reads back exactly, True is 1."""
    if isinstance(value, bool):
        return int(value)
    return repr(value) if isinstance(value, float) else value


def read_table(path: Path, wanted: tuple[str, ...], known: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Yield the rows of a table whose columns begin with those wanted; of those known, an absent one is empty.

    Raises:
        StoreError: the file is missing, has other columns, or a row that is cut.
    """
    try:
        # A spreadsheet puts a byte order mark in front when it saves.
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.reader(file)
            found = tuple(next(table, ()))
            if found[: len(wanted)] != wanted:
                raise StoreError(f"{path}: columns {found!r}, wanted {wanted!r} first")
            absent = dict.fromkeys(column for column in known if column not in found)
            for row in table:
                if len(row) == len(found):
                    yield dict(zip(found, row, strict=True)) | dict.fromkeys(absent, "")
                elif row:  # a blank line is no row
                    raise StoreError(
                        f"{path}:{table.line_num}: {len(row)} fields, {len(found)} wanted; the table is cut or "
                        "was edited: run the step that writes it again"
                    )
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; run the step that writes it first") from None
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: not UTF-8 ({error}); run the step that writes it again") from None


class _UnixLines:
    r"""Ends rows in ``\n`` where the table was told ``\r\n``.

    Before Python 3.13 a table quotes a carriage return only if its own rows end in one; unquoted, it would cut
    a reply in two rows.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")
