"""Frozen items: the exact questions of a run, with their digest."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from sys import intern
from typing import Any

from overnight.datasets.counting import PREPARATION, DatasetCount, preparation_record
from overnight.datasets.reading import RowsDigest, Tally, iterate_items
from overnight.datasets.sampling import Drawing, Stratum, joined_sizes, largest_remainder
from overnight.errors import StoreError, UsageError
from overnight.ids import digest, file_digest
from overnight.planning.identity import answer_rules, datasets_identity
from overnight.prompting.shots import draw_shots
from overnight.records import AnswerRule, Item, ItemType
from overnight.spec.dataset import DatasetSpec
from overnight.spec.experiment import Experiment
from overnight.spec.uncertainty_sweep import UncertaintyExperiment
from overnight.store.content_store import ContentStore, Entry, cache_folder
from overnight.store.files import atomic_writer, write_json

# Raise it when reading, cleaning or sampling changes what comes out.
PREPARATION_VERSION = 3


def prepare_items(experiment: Experiment) -> Entry:
    """Return the frozen items of an experiment: read, checked, sampled, one file a dataset.

    They are made once for the same files, caps, limit, seed and answer rules, and found in the cache afterwards.
    ``preparation.json`` beside them counts what became of every row.

    Raises:
        UsageError: a file is missing or a row is not an item, no item is left, or the counts do not add up.
    """
    identity = {
        "version": PREPARATION_VERSION,
        **datasets_identity(experiment),
        "rules": answer_rules(experiment),
        **_uncertainty_identity(experiment),
    }
    return ContentStore(cache_folder(), "items").get_or_build(
        identity, lambda folder: _freeze(experiment, folder)
    )


def _freeze(experiment: Experiment, folder: Path) -> None:
    specs = [spec for spec in experiment.datasets if isinstance(spec, DatasetSpec)]
    drawn = {spec.name: _draw(spec, experiment) for spec in specs}
    quotas = _quotas(drawn, experiment.limit_items)
    counts = []
    for spec in specs:
        drawing, count = drawn[spec.name]
        kept = drawing.take_quotas(quotas)
        written = write_items(folder / f"{spec.name}.jsonl", kept)
        if isinstance(experiment, UncertaintyExperiment) and experiment.asking.shots:
            write_items(shots_path(folder, spec.name), _shots(spec, kept, experiment))
        counts.append(
            replace(
                count,
                after_limit_items=written,
                expected_after_limit=sum(size for (name, _), size in quotas.items() if name == spec.name),
                n_unanswerable=sum(item.is_unanswerable for item in kept),
            )
        )
    for count in counts:
        count.require_sums()
    write_json(folder / PREPARATION, preparation_record(counts, experiment.limit_items))


def shots_path(items: Path, dataset: str) -> Path:
    """Return where, beside the items, the answered questions are that come before those of a dataset."""
    return items / "shots" / f"{dataset}.jsonl"


def _shots(spec: DatasetSpec, asked: Sequence[Item], experiment: UncertaintyExperiment) -> tuple[Item, ...]:
    """Return the shots of a dataset: of the one that is named for them, or of its items that are not asked."""
    source = experiment.shots_from.get(spec.name, spec)
    if not isinstance(source, DatasetSpec):
        raise TypeError(f"{source!r} is still a name; resolve the sweep first")
    if not asked:
        return ()
    _require_pinned_content(source)
    try:
        return draw_shots(
            iterate_items(source, Tally()), experiment.asking.shots, experiment.asking.shot_seed, asked
        )
    except UsageError as error:
        raise UsageError(f"dataset {spec.name}: {error}") from None


def _uncertainty_identity(experiment: Experiment) -> dict[str, Any]:
    if not isinstance(experiment, UncertaintyExperiment):
        return {}
    sources = {name: d.sha256 for name, d in experiment.shots_from.items() if isinstance(d, DatasetSpec)}
    return {
        "shots": [experiment.asking.shots, experiment.asking.shot_seed, sources],
        "answerable_only": experiment.answerable_only,
    }


def _draw(spec: DatasetSpec, experiment: Experiment) -> tuple[Drawing, DatasetCount]:
    """Read a dataset once, holding no more of it than its sample can need."""
    tally = Tally()
    bounds = [most for most in (spec.max_items, experiment.limit_items) if most is not None]
    drawing = Drawing(seed=experiment.sampling.seed, most=min(bounds, default=None))
    is_answerable_only = isinstance(experiment, UncertaintyExperiment) and experiment.answerable_only
    n_not_wanted = 0
    if not spec.is_switched_off:
        _require_pinned_content(spec)
        rows = RowsDigest()
        for item in iterate_items(spec, tally):
            rows.add(item)
            if is_answerable_only and item.is_unanswerable:
                n_not_wanted += 1
            else:
                drawing.add(item)
        _require_pinned_rows(spec, rows)
        drawing.keep(spec.max_items)
    after_cap = sum(drawing.sizes.values())
    return drawing, DatasetCount(
        dataset=spec.name,
        source=spec.source,
        format=spec.format.value,
        rule=spec.answer_rule.value,
        max_items=spec.max_items,
        n_rows=tally.n_rows,
        n_duplicates=tally.n_duplicates,
        n_blank_answers=tally.n_blank_answers,
        n_items=tally.n_items - n_not_wanted,
        n_not_wanted=n_not_wanted,
        after_max_items=after_cap,
    )


def _quotas(drawn: Mapping[str, tuple[Drawing, DatasetCount]], limit_items: int | None) -> dict[Stratum, int]:
    """Return how many items of each stratum are kept, over all datasets.

    Raises:
        UsageError: none are.
    """
    sizes = joined_sizes(drawing for drawing, _ in drawn.values())
    total = sum(sizes.values())
    if not total:
        raise UsageError(
            f"experiment.datasets: max_items is 0 for all of {', '.join(drawn)}; "
            "give one of them a larger number, or null for all its items"
        )
    if limit_items == 0:
        raise UsageError(
            f"experiment.limit_items: 0 leaves none of {total} items; "
            "give a larger number, or null for all of them"
        )
    return sizes if limit_items is None or limit_items >= total else largest_remainder(sizes, limit_items)


def _require_pinned_content(spec: DatasetSpec) -> None:
    """Refuse a file that is not the one its digest names: the entry would hold other questions than its key."""
    if spec.sha256 is None or spec.path is None or not spec.path.is_file():
        return  # a missing file is said where it is read
    found = file_digest(spec.path)
    if found != spec.sha256:
        raise UsageError(
            f"dataset {spec.name}: sha256: {spec.sha256} is wanted, {spec.path} has {found}; "
            "restore the file, or correct the digest"
        )


def _require_pinned_rows(spec: DatasetSpec, rows: RowsDigest) -> None:
    """Refuse rows of the hub that are not those their digest names."""
    if spec.hub is not None and spec.sha256 is not None and rows.hexdigest() != spec.sha256:
        raise UsageError(
            f"dataset {spec.name}: sha256: {spec.sha256} is wanted, the rows of {spec.hub.address} have "
            f"{rows.hexdigest()}; name the revision (@...) that had them, or take the digest out"
        )


def write_items(path: Path, items: Iterable[Item]) -> int:
    """Write items, one JSON object a line; return how many there are."""
    n_items = 0
    with atomic_writer(path) as file:
        for n_items, item in enumerate(items, start=1):  # noqa: B007 - the last number is the count
            file.write(json.dumps(_row(item), ensure_ascii=True) + "\n")
    return n_items


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
    turns = [[list(turn) for turn in item.turns]] if item.turns else []
    return digest([item.type.value, item.question, item.context, list(item.answers), *turns])[:16]


def _row(item: Item) -> dict[str, Any]:
    turns = [{"role": role, "content": content} for role, content in item.turns]
    row = {
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
    return row | {"turns": turns} if turns else row  # rows of other formats are as they always were


def _item(row: dict[str, Any]) -> Item:
    return Item(
        dataset=intern(row["dataset"]),  # one text for all of them
        item_id=row["item_id"],
        type=ItemType(row["type"]),
        question=row["question"],
        answers=tuple(row["answers"]),
        context=row["context"],
        rule=AnswerRule(row["rule"]),
        wrong_answers=tuple(row["wrong_answers"]),
        turns=tuple((turn["role"], turn["content"]) for turn in row.get("turns", ())),
    )
