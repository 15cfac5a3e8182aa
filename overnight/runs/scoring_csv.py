"""Scoring a table of predictions that somebody has, without its run: whatever order it is in, however long it is."""

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from overnight.datasets.prepared import prepared_files, read_prepared
from overnight.errors import UsageError
from overnight.records import FinishReason, ItemType
from overnight.runs.prediction_rows import PredictionRow, ends_with_line, read_prediction_rows
from overnight.runs.score_table import writing_scores
from overnight.scoring.aggregate import aggregate
from overnight.scoring.score import score_reply
from overnight.scoring.support import UnsupportedRule
from overnight.store.draw_store import DrawStore, StoredDraw, open_draw_store
from overnight.store.files import write_json

_N_EXAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary:
    """What became of every row: ``rows_in`` is the sum of the five counts after it."""

    rows_in: int
    rows_scored: int
    rows_error: int  # the request failed: listed, never scored as wrong
    rows_unknown: int  # of an item that is not among the prepared ones, or is asked in another way there
    rows_repeated: int  # the same draw with the same reply once more; counted once
    rows_superseded: int  # failures of a draw that was answered in another row
    unknown_examples: tuple[str, ...]  # custom ids, the first of them
    items: int
    items_without_prediction: int
    items_without_gold: int  # closed-book items without an answer: nothing there can be right or wrong
    scores_written: int  # rows of per_item_scores.csv, one an item and arm
    last_line_is_ended: bool  # False: if the table was cut, it was cut in its last reply


def score_csv(
    predictions: Path, prepared: Path, out: Path, *, rule: UnsupportedRule, with_rouge: bool = False
) -> ScoreSummary:
    """Write ``per_item_scores.csv``, ``squad.json`` and ``score_summary.json`` into a folder.

    The order of the rows does not matter: scores stand in the order of the prepared items, by arm.

    Args:
        predictions: a CSV with at least ``custom_id`` and ``response_text``.
        prepared: a run folder, or a folder of prepared items.
        out: where the files go; made where it is not there.
        rule: when a claim is borne out by its passage.
        with_rouge: also compute ROUGE-L.

    Raises:
        UsageError: a file is not what it should be, a draw has two different replies, or no row is of a
            prepared item.
    """
    with open_draw_store() as store:
        counts = Counter(_load_items(store, prepared))
        examples = _score_rows(store, predictions, counts, rule, with_rouge=with_rouge)
        if counts["rows_in"] == counts["rows_unknown"]:
            found = (
                f"none of its {counts['rows_in']} rows is" if counts["rows_in"] else "it has no rows, none"
            )
            first = f" (the first is {examples[0]})" if examples else ""
            raise UsageError(
                f"{predictions}: {found} of an item in {prepared}{first}; name the folder of the items of that run"
            )
        with writing_scores(out / "per_item_scores.csv", out / "squad.json") as table:
            for draws in store.cells():
                table.add(aggregate(draws))
        summary = ScoreSummary(
            **{name: counts[name] for name in _COUNTED},
            unknown_examples=tuple(examples),
            items_without_prediction=store.n_items_without_draw(),
            scores_written=table.n_rows,
            last_line_is_ended=ends_with_line(predictions),
        )
    write_json(
        out / "score_summary.json", _record(summary, predictions, prepared, rule, with_rouge=with_rouge)
    )
    return summary


_COUNTED = (
    "rows_in",
    "rows_scored",
    "rows_error",
    "rows_unknown",
    "rows_repeated",
    "rows_superseded",
    "items",
    "items_without_gold",
)


def _load_items(store: DrawStore, prepared: Path) -> dict[str, int]:
    n_items = n_without_gold = 0
    for path in prepared_files(prepared):
        for line, item in read_prepared(path):
            if (before := store.add_item(item, f"{path}:{line}")) is not None:
                raise UsageError(
                    f"{path}:{line}: item {item.key} stands in {before} already; give every item one line"
                )
            n_items += 1
            n_without_gold += item.type is ItemType.CLOSED and not item.answers
    return {"items": n_items, "items_without_gold": n_without_gold}


def _score_rows(
    store: DrawStore, predictions: Path, counts: Counter[str], rule: UnsupportedRule, *, with_rouge: bool
) -> list[str]:
    """Score row by row, count what becomes of each, and return the first custom ids that nothing is known of."""
    examples: list[str] = []
    for row in read_prediction_rows(predictions):
        counts["rows_in"] += 1
        known = store.find_item(row.item_key)
        if known is None or known[1].type is not row.type:
            counts["rows_unknown"] += 1
            if len(examples) < _N_EXAMPLES:
                examples.append(row.custom_id)
            continue
        rank, item = known
        key = rank, row.arm, row.sample_index
        draw = StoredDraw(
            line=row.line,
            text_digest=hashlib.blake2b(row.text.encode("utf-8"), digest_size=16).digest(),
            finish_reason=row.finish_reason,
            mean_logprob=row.mean_logprob,
            score=None,
        )
        before = store.find_draw(key)
        if before is not None and _counts_already(predictions, row, draw, before, counts):
            continue
        if row.finish_reason is FinishReason.ERROR:
            counts["rows_error"] += 1
        else:
            counts["rows_scored"] += 1
            draw = replace(draw, score=score_reply(item, row.text, rule, with_rouge=with_rouge))
        store.put_draw(key, draw)
    return examples


def _counts_already(
    path: Path, row: PredictionRow, draw: StoredDraw, before: StoredDraw, counts: Counter[str]
) -> bool:
    """Decide between two rows of one draw; return whether the one that came before is the one that counts.

    An answer supersedes a failure, whichever came first. The same reply twice is one reply. Of two different
    replies nobody knows which counts.
    """
    failed, failed_before = row.finish_reason is FinishReason.ERROR, before.score is None
    if failed_before and not failed:
        counts["rows_error"] -= 1
        counts["rows_superseded"] += 1
        return False
    if failed:
        counts["rows_repeated" if failed_before else "rows_superseded"] += 1
        return True
    if before.text_digest != draw.text_digest:
        raise UsageError(
            f"{path}:{row.line}: custom_id {row.custom_id!r} stands on line {before.line} with another reply; are "
            "two trials or two runs in one table? Score each in a table of its own"
        )
    counts["rows_repeated"] += 1
    return True


def _record(
    summary: ScoreSummary, predictions: Path, prepared: Path, rule: UnsupportedRule, *, with_rouge: bool
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "pred_csv": str(predictions),
        "prepared_dir": str(prepared),
        "unsupported": asdict(rule),
        "rouge_l": with_rouge,
        **asdict(summary),
    }
