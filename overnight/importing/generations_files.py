"""The files and the words of an import of answers with their tokens."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from overnight.importing.generations import StoredItem
from overnight.importing.generations_import import LABEL, ImportedGenerations
from overnight.stats.discrimination import Discrimination
from overnight.store.files import atomic_writer, write_json
from overnight.uncertainty.answer import TokenMask
from overnight.uncertainty.reading import tokens_to_json
from overnight.uncertainty.table import Column

FILES: Final = ("uncertainty.csv", "uncertainty_columns.json", "auroc.csv", "answers.jsonl")
_TABLE, _COLUMNS, _AUROCS, _ANSWERS = FILES
_LENGTH: Final = "n_tokens"  # a control, not a measure of certainty: it stands before them


def write_generations(found: ImportedGenerations) -> None:
    """Write a table of the items, what its columns are, the AUROC of each, and the answers token by token."""
    _write_table(found)
    columns = [_described(column, "measure") for column in found.measures.columns]
    write_json(
        found.folder / _COLUMNS,
        {
            "schema_version": 1,
            "mask": TokenMask.CONTENT.value,
            "columns": [*columns, _described(found.label, "label")],
        },
    )
    with atomic_writer(found.folder / _AUROCS) as file:
        table = csv.DictWriter(file, list(_finding(found.findings[0])), lineterminator="\n")
        table.writeheader()
        table.writerows(map(_finding, found.findings))
    with atomic_writer(found.folder / _ANSWERS) as file:
        for key, item in zip(found.measures.item_keys, found.items, strict=True):
            file.write(json.dumps(_answer(key, item), ensure_ascii=True, allow_nan=False) + "\n")


def _write_table(found: ImportedGenerations) -> None:
    names = [_LENGTH, *(name for name in found.measures.names if name != _LENGTH)]
    columns = [found.measures.column(name) for name in names]
    with atomic_writer(found.folder / _TABLE) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["dataset", "item_key", "finish_reason", *names, f"label_{LABEL}"])
        for place, (key, item) in enumerate(zip(found.measures.item_keys, found.items, strict=True)):
            rows.writerow(
                [
                    found.dataset,
                    key,
                    "stop" if item.greedy.is_ended else "",
                    _whole(columns[0].cells[place].value),
                    *(column.cells[place].value for column in columns[1:]),
                    _whole(found.label.cells[place].value),
                ]
            )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _described(column: Column, kind: str) -> dict[str, Any]:
    missing = Counter(cell.undefined_because for cell in column.cells if cell.value is None)
    return {
        "name": column.name,
        "kind": kind,
        "version": column.version,
        "source": column.source,
        "n_missing": column.n_missing,
        "missing_because": {str(reason): count for reason, count in missing.most_common()},
    }


def _finding(found: Discrimination) -> dict[str, Any]:
    ranking = found.ranking
    return {
        "measure": found.measure,
        "label": found.label,
        "n_items": found.n_items,
        "n_right": found.n_right,
        "n_wrong": found.n_wrong,
        "n_without_score": found.n_without_score,
        "n_without_label": found.n_without_label,
        "auroc": ranking.auroc if ranking else None,
        "auroc_low": ranking.delong.low if ranking else None,
        "auroc_high": ranking.delong.high if ranking else None,
        "auprc": ranking.auprc if ranking else None,
        "aurc": ranking.aurc if ranking else None,
        "tie_share": found.tie_share,
        "undefined_because": found.undefined_because,
    }


def _answer(key: str, item: StoredItem) -> dict[str, Any]:
    generated = item.greedy.generated
    return {
        "item_key": key,
        "question": item.question,
        "answers": list(item.golds),
        "text": item.greedy.text,
        "tokens": None if generated is None else tokens_to_json(generated.tokens),
        "accuracy": item.greedy.accuracy.value,
    }


def record(found: ImportedGenerations) -> dict[str, Any]:
    """Return what was found, for JSON."""
    rights = [cell.value for cell in found.label.cells]
    return {
        "source": str(found.source),
        "folder": str(found.folder),
        "n_items": len(found.items),
        "n_right": rights.count(1.0),
        "n_wrong": rights.count(0.0),
        "n_without_label": rights.count(None),
        "notes": list(found.notes),
        "measures": [_finding(one) for one in found.findings],
    }


def wording(found: ImportedGenerations) -> Iterator[str]:
    """Yield what was found, a line each."""
    rights = [cell.value for cell in found.label.cells]
    unlabelled = f", {rights.count(None):,} without a label" if None in rights else ""
    yield (
        f"{found.source}: {len(found.items):,} items, {rights.count(1.0):,} right and {rights.count(0.0):,} wrong by "
        f"the stored accuracy{unlabelled}"
    )
    yield from found.notes
    for one in found.findings:
        if one.ranking is None:
            yield f"  {one.measure}: no AUROC: {one.undefined_because}"
            continue
        low, high = one.ranking.delong.low, one.ranking.delong.high
        bounds = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
        yield f"  {one.measure}: AUROC {one.ranking.auroc:.3f}{bounds} on {one.n_items:,} items"
