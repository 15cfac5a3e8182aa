"""Frozen items: the exact questions of a run, with their digest."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from overnight.datasets.reading import read_items
from overnight.datasets.sampling import stratified_sample
from overnight.errors import StoreError, UsageError
from overnight.ids import digest, file_digest
from overnight.planning.trials import datasets_identity
from overnight.records import AnswerRule, Item, ItemType
from overnight.spec.dataset import DatasetSpec
from overnight.spec.prompt_sweep import PromptSweepExperiment
from overnight.store.content_store import ContentStore, Entry, cache_folder
from overnight.store.files import atomic_writer

# Raise it when reading, cleaning or sampling changes what comes out.
PREPARATION_VERSION = 2


def prepare_items(experiment: PromptSweepExperiment) -> Entry:
    """Return the frozen items of an experiment: read, checked, sampled, one file a dataset.

    They are made once for the same files, limit and seed, and found in the cache afterwards.

    Raises:
        UsageError: a file is missing or a row is not an item, or no item is left.
    """
    identity = {"version": PREPARATION_VERSION, **datasets_identity(experiment)}
    return ContentStore(cache_folder(), "items").get_or_build(
        identity, lambda folder: _freeze(experiment, folder)
    )


def _freeze(experiment: PromptSweepExperiment, folder: Path) -> None:
    specs = [spec for spec in experiment.datasets if isinstance(spec, DatasetSpec)]
    for spec in specs:
        _require_pinned_content(spec)
    everything = [item for spec in specs for item in read_items(spec)]
    kept = stratified_sample(everything, experiment.limit_items, experiment.sampling.seed)
    if not kept:
        raise UsageError(
            f"experiment.limit_items: {experiment.limit_items} leaves none of {len(everything)} items; "
            "give a larger number, or null for all of them"
        )
    for spec in specs:
        write_items(folder / f"{spec.name}.jsonl", [item for item in kept if item.dataset == spec.name])


def _require_pinned_content(spec: DatasetSpec) -> None:
    """Refuse a file that is not the one its digest names: the entry would hold other questions than its key."""
    if spec.sha256 is None or not spec.path.is_file():
        return  # a missing file is said where it is read
    found = file_digest(spec.path)
    if found != spec.sha256:
        raise UsageError(
            f"dataset {spec.name}: sha256: {spec.sha256} is wanted, {spec.path} has {found}; "
            "restore the file, or correct the digest"
        )


def write_items(path: Path, items: Iterable[Item]) -> None:
    """Write items, one JSON object a line."""
    with atomic_writer(path) as file:
        for item in items:
            file.write(json.dumps(_row(item), ensure_ascii=True) + "\n")


def load_items(paths: Sequence[Path]) -> list[Item]:
    """Return frozen items in the order of their files.

    Raises:
        StoreError: a line is not an item.
    """
    items = []
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    items.append(_item(json.loads(line)))
                except (ValueError, KeyError, TypeError):
                    raise StoreError(f"{path}:{number}: not a frozen item; the file was changed") from None
    return items


def content_id(item: Item) -> str:
    """Return the digest of what an item asks, whatever its id: 16 hex digits."""
    return digest([item.type.value, item.question, item.context, list(item.answers)])[:16]


def _row(item: Item) -> dict[str, Any]:
    return {
        "dataset": item.dataset,
        "item_id": item.item_id,
        "content_id": content_id(item),
        "type": item.type.value,
        "question": item.question,
        "context": item.context,
        "answers": list(item.answers),
        "wrong_answers": list(item.wrong_answers),
        "rule": item.rule.value,
        "is_unanswerable": item.is_unanswerable,
    }


def _item(row: dict[str, Any]) -> Item:
    return Item(
        dataset=row["dataset"],
        item_id=row["item_id"],
        type=ItemType(row["type"]),
        question=row["question"],
        answers=tuple(row["answers"]),
        context=row["context"],
        rule=AnswerRule(row["rule"]),
        wrong_answers=tuple(row["wrong_answers"]),
    )
