"""The parse step: from the journal to predictions.

Rows come in the order of the plan, not in that of arrival, so that a resumed run has the same table as one that
was never stopped.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from overnight.errors import StoreError
from overnight.ids import custom_id, temperature_label
from overnight.planning.plan import Plan
from overnight.planning.trial import Trial
from overnight.records import Arm, FinishReason, Item, Prediction
from overnight.runs.tables import PREDICTION_COLUMNS, cell, read_predictions, table_writer
from overnight.store.journal import is_done, parse_line
from overnight.store.run_folder import TrialFolder


def write_predictions(folder: TrialFolder, plan: Plan, trial: Trial) -> int:
    """Write ``predictions.csv``, one row a draw, failed ones included; return the number of rows.

    Raises:
        StoreError: a draw of the plan has no row in the journal, or the journal is damaged.
    """
    offsets = effective_rows(folder.journal)
    n_planned = n_missing = 0
    first = None
    for name, *_ in planned_draws(plan, trial):
        n_planned += 1
        if name not in offsets:
            n_missing, first = n_missing + 1, first or name
    if n_missing:
        raise StoreError(
            f"{folder.journal}: {n_missing} of {n_planned} draws are missing, the first is {first}; "
            "run the poll step to its end first"
        )
    with (
        # A trial that a deadline came before was asked nothing, and has no journal.
        folder.journal.open("rb") if n_planned else BytesIO() as journal,
        table_writer(folder.predictions, PREDICTION_COLUMNS) as table,
    ):
        for name, item, arm, sample_index in planned_draws(plan, trial):
            row = row_at(journal, offsets[name])
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
                    cell(row.get("mean_logprob")),
                ]
            )
    return n_planned


def planned_draws(plan: Plan, trial: Trial) -> Iterator[tuple[str, Item, Arm, int]]:
    """Yield custom id, item, arm and sample index of every draw of a trial, in the order of its tables."""
    for item in plan.items_of(trial):
        for arm in trial.arms(plan.conditions):
            for index in range(trial.draws(arm.temperature)):
                name = custom_id(item.key, arm.condition.value, arm.temperature, index, item.type.value)
                yield name, item, arm, index


def planned_predictions(folder: TrialFolder, plan: Plan, trial: Trial) -> Iterator[Prediction]:
    """Yield the rows of ``predictions.csv`` with their items, draws of one item and arm in a row.

    Raises:
        StoreError: the file is missing or does not have the draws of the plan.
    """
    rows = read_predictions(folder.predictions)
    n_rows = 0
    for n_rows, ((name, item, arm, index), row) in enumerate(
        zip(planned_draws(plan, trial), rows, strict=False), start=1
    ):
        if row["custom_id"] != name:
            raise StoreError(
                f"{folder.predictions}: row {n_rows} is {row['custom_id']!r}, wanted {name!r}; "
                "run the parse step again"
            )
        yield Prediction(
            custom_id=name,
            item=item,
            arm=arm,
            sample_index=index,
            text=row["response_text"],
            finish_reason=FinishReason(row["finish_reason"]),
            mean_logprob=float(row["mean_logprob"]) if row["mean_logprob"] else None,
        )
    expected = plan.requests_per_trial[trial.slug]
    if n_rows != expected or next(rows, None) is not None:
        raise StoreError(
            f"{folder.predictions}: found {n_rows} rows of this trial or more, wanted {expected}; "
            "run the parse step again"
        )


def effective_rows(path: Path) -> dict[str, int]:
    """Return, of a journal, where the row that counts of each draw begins: the answer, or else the last failure."""
    offsets: dict[str, int] = {}  # of a failure, its complement while the file is read: an answer may follow
    if not path.exists():
        return offsets
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            row = _parsed(line, path)
            if offsets.get(row["custom_id"], -1) < 0:
                offsets[row["custom_id"]] = offset if is_done(row) else ~offset
            offset += len(line)
    for name, place in offsets.items():
        if place < 0:
            offsets[name] = ~place
    return offsets


def row_at(file: BinaryIO, offset: int) -> dict[str, Any]:
    """Return the row that begins at an offset of a journal."""
    file.seek(offset)
    return _parsed(file.readline(), Path(file.name))


def _parsed(line: bytes, path: Path) -> dict[str, Any]:
    try:
        row: dict[str, Any] = parse_line(line)
        row["custom_id"], row["status"]
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path}: a line is not a journal row; restore the file") from None
    return row
