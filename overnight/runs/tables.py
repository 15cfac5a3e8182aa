"""The parse and score steps: from the journal to predictions, from predictions to scores per item and arm.

Rows come in the order of the plan, not in that of arrival, so that a resumed run has the same tables as one
that was never stopped. Tables are streamed: memory does not grow with the length of the replies.
"""

import csv
import dataclasses
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from overnight.errors import StoreError
from overnight.ids import custom_id, temperature_label
from overnight.planning.plan import Plan
from overnight.planning.trials import Trial
from overnight.records import Arm, FinishReason, Item, Prediction
from overnight.scoring.aggregate import ItemScores, aggregate
from overnight.scoring.score import score_reply
from overnight.scoring.support import UnsupportedRule
from overnight.spec.prompt_sweep import UnsupportedSpec
from overnight.store.files import atomic_writer
from overnight.store.journal import is_done
from overnight.store.run_folder import TrialFolder

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
)
# A model may write a megabyte in one reply; Python's default refuses fields of more than 128 kB.
csv.field_size_limit(1 << 30)


def write_predictions(folder: TrialFolder, plan: Plan, trial: Trial) -> int:
    """Write ``predictions.csv``, one row a draw, failed ones included; return the number of rows.

    Raises:
        StoreError: a draw of the plan has no row in the journal, or the journal is damaged.
    """
    offsets = _effective_rows(folder.journal)
    planned = list(_draws(plan, trial))
    if missing := [name for name, *_ in planned if name not in offsets]:
        raise StoreError(
            f"{folder.journal}: {len(missing)} of {len(planned)} draws are missing, the first is {missing[0]}; "
            "run the poll step to its end first"
        )
    with folder.journal.open("rb") as journal, atomic_writer(folder.predictions) as file:
        table = csv.writer(_UnixLines(file), lineterminator="\r\n")
        table.writerow(PREDICTION_COLUMNS)
        for name, item, arm, sample_index in planned:
            row = _row_at(journal, offsets[name])
            if row.get("trial") != trial.slug:
                raise StoreError(
                    f"{folder.journal}: the row of {name} is of trial {row.get('trial')}, wanted {trial.slug}; "
                    "restore the file"
                )
            prompt, completion = row["prompt_tokens"], row["completion_tokens"]
            table.writerow(
                [
                    name,
                    item.dataset,
                    item.item_id,
                    arm.condition.value,
                    temperature_label(arm.temperature),
                    sample_index,
                    item.type.value,
                    row["request_id"],
                    row["finish_reason"],
                    row["text"],
                    prompt,
                    completion,
                    None if prompt is None or completion is None else prompt + completion,
                ]
            )
    return len(planned)


def write_scores(folder: TrialFolder, plan: Plan, trial: Trial, unsupported: UnsupportedSpec) -> int:
    """Write ``per_item_scores.csv``, one row an item and arm; return the number of rows.

    A draw whose request failed is not scored; an item and arm of which every draw failed has no row.

    Raises:
        StoreError: ``predictions.csv`` is missing or does not have the draws of the plan.
    """
    rule = UnsupportedRule(**unsupported.model_dump())
    n_rows = 0
    with atomic_writer(folder.scores) as file:
        table = csv.writer(_UnixLines(file), lineterminator="\r\n")
        table.writerow(SCORE_COLUMNS)
        for _, group in groupby(
            planned_predictions(folder, plan, trial), key=lambda pair: (pair[0].item.key, pair[0].arm)
        ):
            scored = [
                (prediction, score_reply(prediction.item, prediction.text, rule))
                for prediction, reason in group
                if reason is not FinishReason.ERROR
            ]
            if scored:
                empty = sum(score.is_empty for _, score in scored) / len(scored)
                table.writerow(_score_row(aggregate(scored), empty))
                n_rows += 1
    return n_rows


def read_scores(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a ``per_item_scores.csv``.

    Raises:
        StoreError: the file is missing or has other columns.
    """
    yield from _table(path, SCORE_COLUMNS)


def read_predictions(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a ``predictions.csv``.

    Raises:
        StoreError: the file is missing or has other columns.
    """
    yield from _table(path, PREDICTION_COLUMNS)


def _table(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            found = tuple(table.fieldnames or ())
            if found[: len(columns)] != columns:
                raise StoreError(f"{path}: columns {found!r}, wanted {columns!r} first")
            yield from table
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; run the step that writes it first") from None


class _UnixLines:
    r"""Ends rows in ``\n`` where the table was told ``\r\n``.

    Before Python 3.13 a table quotes a carriage return only if its own rows end in one; unquoted, it would cut
    a reply in two rows.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def _draws(plan: Plan, trial: Trial) -> Iterator[tuple[str, Item, Arm, int]]:
    """Yield every draw of a trial in the order of its tables."""
    for item in plan.items:
        for arm in trial.arms(plan.conditions):
            for index in range(trial.draws(arm.temperature)):
                name = custom_id(item.key, arm.condition.value, arm.temperature, index, item.type.value)
                yield name, item, arm, index


def planned_predictions(
    folder: TrialFolder, plan: Plan, trial: Trial
) -> Iterator[tuple[Prediction, FinishReason]]:
    """Yield the rows of ``predictions.csv`` with their items, draws of one item and arm in a row.

    Raises:
        StoreError: the file is missing or does not have the draws of the plan.
    """
    rows = read_predictions(folder.predictions)
    n_rows = 0
    for n_rows, ((name, item, arm, index), row) in enumerate(
        zip(_draws(plan, trial), rows, strict=False), start=1
    ):
        if row["custom_id"] != name:
            raise StoreError(
                f"{folder.predictions}: row {n_rows} is {row['custom_id']!r}, wanted {name!r}; "
                "run the parse step again"
            )
        prediction = Prediction(
            custom_id=name, item=item, arm=arm, sample_index=index, text=row["response_text"]
        )
        yield prediction, FinishReason(row["finish_reason"])
    expected = plan.requests_per_trial[trial.slug]
    if n_rows != expected or next(rows, None) is not None:
        raise StoreError(
            f"{folder.predictions}: found {n_rows} rows of this trial or more, wanted {expected}; "
            "run the parse step again"
        )


def _effective_rows(path: Path) -> dict[str, int]:
    """Return where the row that counts of each draw begins: the answer, or else the last failure."""
    offsets: dict[str, int] = {}
    answered: set[str] = set()
    if not path.exists():
        return offsets
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            row = _parsed(line, path)
            if row["custom_id"] not in answered:
                offsets[row["custom_id"]] = offset
                if is_done(row):
                    answered.add(row["custom_id"])
            offset += len(line)
    return offsets


def _row_at(file: BinaryIO, offset: int) -> dict[str, Any]:
    file.seek(offset)
    return _parsed(file.readline(), Path(file.name))


def _parsed(line: bytes, path: Path) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
        row["custom_id"], row["status"]
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path}: a line is not a journal row; restore the file") from None
    return row


def _score_row(scores: ItemScores, empty_rate: float) -> list[Any]:
    values = dataclasses.asdict(scores) | {
        "type": scores.type.value,
        "condition": scores.condition.value,
        "temp": temperature_label(scores.temp),
        "empty_rate": empty_rate,
    }
    return [_cell(values[column]) for column in SCORE_COLUMNS]


def _cell(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value
