"""Reading what lm-evaluation-harness writes with ``--log_samples``: one JSONL file a task and model.

Versions differ: a file of early 2024 has neither hashes nor the list of its metrics. The ``doc_hash`` of newer
ones is no identity: it depends on the order of a document's fields, and the same 817 questions have other
hashes in two published runs. An item is therefore its document.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.errors import UsageError
from overnight.importing.choosing import nearest
from overnight.importing.logs import (
    IdentifyBy,
    LoggedItem,
    LogRow,
    SystemLog,
    content_key,
    excerpt,
    keyed,
    number,
    parsed_json,
)

_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?)\.jsonl")
_NOT_METRICS = frozenset(
    {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
    | {"doc_hash", "prompt_hash", "target_hash", "task_name"}
)
_FIELDS_OF_A_QUESTION = ("question", "query", "problem", "prompt", "text", "input", "ctx", "sentence", "goal")
_WHAT = "samples_<task>_<time>.jsonl, as lm_eval writes it with --log_samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """A file of samples and what its name says."""

    path: Path
    task: str | None
    date: str | None


def find_sample_files(paths: Sequence[Path], task: str | None) -> list[SampleFile]:
    """Return the files of samples that some paths mean: files as they are, folders with all below them.

    Raises:
        UsageError: a path does not exist, or nothing is found, or there is no such task.
    """
    files: dict[Path, SampleFile] = {}
    for path in paths:
        if path.is_file():
            found = [path]
        elif path.is_dir():
            found = sorted(path.rglob("samples_*.jsonl"))
        else:
            raise UsageError(f"{path}: no such file or folder; wanted {_WHAT}, or a folder of such files")
        if not found:
            raise UsageError(f"{path}: no samples_*.jsonl below it; run lm_eval with --log_samples")
        for file in found:
            name = _NAME.fullmatch(file.name)
            files[file.resolve()] = SampleFile(
                path=file, task=name["task"] if name else None, date=name["date"] if name else None
            )
    tasks = sorted({file.task for file in files.values() if file.task})
    if task and task not in tasks:
        raise UsageError(f"--task {task}: {nearest(task, tasks, 'task')}")
    return [file for file in files.values() if task is None or file.task == task]


def read_samples(
    file: SampleFile, *, filter_name: str | None, identify_by: IdentifyBy, is_partial_allowed: bool = False
) -> SystemLog:
    """Return one file of samples.

    Args:
        file: of one task and model.
        filter_name: which filter's rows to take where a task has several.
        identify_by: what an item is; without documents in the file, its id and target either way.
        is_partial_allowed: take a file with fewer items than the results beside it count.

    Raises:
        UsageError: the file is not of this format, is cut off, empty, or has an item twice.
    """
    results = _results(file)
    by_id: dict[str, LogRow] = {}
    lines: dict[str, int] = {}
    filters: set[str] = set()
    n_documents = 0
    wanted = filter_name
    for line, row in _rows(file.path):
        found_filter = str(row.get("filter", "none"))
        filters.add(found_filter)
        wanted = wanted or found_filter
        if found_filter != wanted:
            continue
        item_id = str(row["doc_id"])
        if item_id in by_id:
            raise UsageError(
                f"{file.path}:{line}: doc_id {item_id} stands twice (first in line {lines[item_id]}); "
                "the file holds two evaluations, or a line was copied"
            )
        has_document = identify_by is IdentifyBy.CONTENT and bool(row.get("doc"))
        n_documents += has_document
        lines[item_id] = line
        by_id[item_id] = _log_row(row, has_document=has_document)
    _require_rows(file.path, by_id, filters, filter_name)
    if 0 < n_documents < len(by_id):
        raise UsageError(
            f"{file.path}: {len(by_id) - n_documents} of {len(by_id)} lines have no doc; "
            "compare by doc_id with --identify-by id"
        )
    expected = results.n_items.get(file.task or "")
    if expected is not None and expected != len(by_id) and not is_partial_allowed:
        raise UsageError(
            f"{file.path}: {len(by_id)} items, {results.path} counts {expected}; "
            "restore the file, or take what is there with --unfinished"
        )
    rows, n_repeated = keyed(by_id.values())
    scores, not_numeric = _numeric({key: row.scores for key, row in rows.items()})
    return SystemLog(
        system=results.model or (file.path.resolve().parent.name if file.task else file.path.stem),
        made=file.date,
        source=file.path,
        task=file.task,
        identified_by="the document" if n_documents else "doc_id and target",
        items={key: row.item for key, row in rows.items()},
        scores=scores,
        not_numeric=not_numeric,
        is_higher_better=results.is_higher_better.get(file.task or "", {}),
        notes=(f"{file.path}: {n_repeated} items have the document of an earlier one",) if n_repeated else (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """What ``results_<time>.json`` beside the samples says of them."""

    path: Path
    model: str | None
    n_items: dict[str, int]
    is_higher_better: dict[str, dict[str, bool]]


def _results(file: SampleFile) -> _Results:
    path = file.path.with_name(f"results_{file.date}.json")
    value = parsed_json(path.read_bytes(), str(path)) if file.date and path.is_file() else {}
    value = value if isinstance(value, dict) else {}
    model = value.get("model_name")
    counts, better = (_mapping(value.get(key)) for key in ("n-samples", "higher_is_better"))
    return _Results(
        path=path,
        model=model if isinstance(model, str) and model else None,
        n_items={
            task: count["effective"]
            for task, count in counts.items()
            if isinstance(count, dict) and isinstance(count.get("effective"), int)
        },
        is_higher_better={
            task: {metric: is_higher for metric, is_higher in metrics.items() if isinstance(is_higher, bool)}
            for task, metrics in better.items()
            if isinstance(metrics, dict)
        },
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            text = raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw
            if not text.strip():
                continue
            row = parsed_json(text, f"{path}:{line}")
            if not isinstance(row, dict) or "doc_id" not in row:
                found = f"the keys {', '.join(list(row)[:4])}" if isinstance(row, dict) else "no object"
                raise UsageError(f"{path}:{line}: {found}, no doc_id; wanted a line of {_WHAT}")
            yield line, row


def _log_row(row: dict[str, Any], *, has_document: bool) -> LogRow:
    target = row.get("target")
    item = LoggedItem(
        item_id=str(row["doc_id"]),
        text=excerpt(_text(row)),
        target=None if target is None else excerpt(str(target)),
    )
    named = row.get("metrics")
    metrics = named if isinstance(named, list) else [key for key in row if key not in _NOT_METRICS]
    return LogRow(
        content=content_key(row["doc"]) if has_document else content_key([item.item_id, str(target)]),
        item=item,
        scores={metric: row.get(metric) for metric in metrics},
    )


def _text(row: dict[str, Any]) -> str:
    """Return what a person recognises the item by: the question, or else the end of the prompt."""
    doc = row.get("doc")
    if isinstance(doc, str):
        return doc
    if isinstance(doc, dict):
        texts = (doc.get(name) for name in _FIELDS_OF_A_QUESTION)
        if found := next((text for text in texts if isinstance(text, str) and text), None):
            return found
    prompt = _mapping(_mapping(row.get("arguments")).get("gen_args_0")).get("arg_0")
    return prompt[-300:] if isinstance(prompt, str) else f"doc_id {row['doc_id']}"


def _numeric(
    rows: dict[str, Any],
) -> tuple[dict[str, dict[str, float | None]], dict[str, str]]:
    scores: dict[str, dict[str, float | None]] = {}
    not_numeric: dict[str, str] = {}
    for metric in dict.fromkeys(metric for row in rows.values() for metric in row):
        try:
            scores[metric] = {key: number(row.get(metric)) for key, row in rows.items()}
        except ValueError as error:
            not_numeric[metric] = str(error)
    return scores, not_numeric


def _require_rows(path: Path, rows: dict[str, LogRow], filters: set[str], filter_name: str | None) -> None:
    if not filters:
        raise UsageError(f"{path}: no line in it; wanted {_WHAT}")
    names = sorted(filters)
    if filter_name is None and len(names) > 1:
        raise UsageError(f"{path}: filters {', '.join(names)}; choose one with --filter")
    if not rows:
        raise UsageError(f"{path}: --filter {filter_name}: {nearest(str(filter_name), names, 'filter')}")
