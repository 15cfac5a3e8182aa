"""From files of answers with their tokens to the uncertainty of each, and how well it finds the wrong ones."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overnight.errors import UsageError
from overnight.ids import item_key
from overnight.importing.generations import StoredAnswer, StoredItem, read_generations
from overnight.stats.discrimination import Discrimination, discriminate
from overnight.stats.scored_items import scored_items
from overnight.uncertainty.answer import CountedAnswer, TokenMask, count_tokens
from overnight.uncertainty.evidence import Evidence, Sampled
from overnight.uncertainty.measure import Need
from overnight.uncertainty.measures import measures_with
from overnight.uncertainty.table import Column, ItemTable, measure_items

LABEL: Final = "stored"
_LABEL_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedGenerations:
    """One file, measured."""

    source: Path
    dataset: str
    folder: Path  # where its files go
    items: tuple[StoredItem, ...]
    measures: ItemTable  # counted over content tokens: without end tokens, whitespace and what was cut off
    label: Column
    findings: tuple[Discrimination, ...]  # a measure each
    notes: tuple[str, ...]


def measure_generations(
    paths: Sequence[Path], out: Path, *, dataset: str | None, seed: int, n_resamples: int
) -> list[ImportedGenerations]:
    """Read files of answers, measure their uncertainty, and judge the measures by the stored accuracy; write nothing.

    Args:
        paths: files; several go to a folder each, named like them.
        out: the folder to write to.
        dataset: its name; the file's own without one.
        seed: of the bootstrap.
        n_resamples: of the bootstrap.

    Raises:
        UsageError: a file is refused or is something else.
    """
    read = [(path, read_generations(path)) for path in paths]
    folders = [out] if len(paths) == 1 else [out / name for name in _names(paths)]
    return [
        _measured(path, folder, items, dataset=dataset or path.stem, seed=seed, n_resamples=n_resamples)
        for (path, items), folder in zip(read, folders, strict=True)
    ]


def _measured(
    path: Path, folder: Path, items: list[StoredItem], *, dataset: str, seed: int, n_resamples: int
) -> ImportedGenerations:
    is_drawn = any(draw.text != item.greedy.text for item in items for draw in item.draws)
    has = {Need.LOGPROBS, Need.SAMPLES} if is_drawn else {Need.LOGPROBS}
    measures = measure_items(
        [_evidence(item, dataset, with_draws=is_drawn) for item in items],
        measures_with(has),
    )
    label = Column(
        name=LABEL,
        version=_LABEL_VERSION,
        cells=tuple(item.is_right for item in items),
        source=f"accuracy in {path.name}, above 0.5",
    )
    is_right = {
        key: None if cell.value is None else bool(cell.value)
        for key, cell in zip(measures.item_keys, label.cells, strict=True)
    }
    findings = []
    for column in measures.columns:
        values = {key: cell.value for key, cell in zip(measures.item_keys, column.cells, strict=True)}
        findings.append(
            discriminate(
                scored_items(values, is_right),
                measure=column.name,
                label=LABEL,
                seed=seed,
                n_resamples=n_resamples,
            )
        )
    return ImportedGenerations(
        source=path,
        dataset=dataset,
        folder=folder,
        items=tuple(items),
        measures=measures,
        label=label,
        findings=tuple(findings),
        notes=tuple(_notes(items, is_drawn=is_drawn)),
    )


def _evidence(item: StoredItem, dataset: str, *, with_draws: bool) -> Evidence:
    return Evidence(
        item_key=item_key(dataset, item.item_id),
        greedy=_counted(item.greedy),
        sampled=Sampled(answers=tuple(map(_counted, item.draws))) if with_draws else None,
    )


def _counted(answer: StoredAnswer) -> CountedAnswer:
    if answer.generated is None:
        return CountedAnswer(
            text=answer.text, tokens=(), mask=TokenMask.CONTENT, undefined_because=answer.unknown_because
        )
    return count_tokens(answer.generated)


def _notes(items: Sequence[StoredItem], *, is_drawn: bool) -> Iterator[str]:
    n_draws = sum(len(item.draws) for item in items)
    if n_draws and not is_drawn:
        yield f"all {n_draws:,} further answers equal the greedy ones (temperature 0); they are left out"
    answers = [answer for item in items for answer in (item.greedy, *item.draws)]
    n_embeddings = sum(answer.has_embedding for answer in answers)
    if n_embeddings:
        yield f"{n_embeddings:,} embeddings were passed over"
    unknown = Counter(item.greedy.unknown_because for item in items if item.greedy.generated is None)
    for reason, count in unknown.most_common(3):
        yield f"{count:,} answers cannot be measured: {reason}"


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a folder's name for each file: its own, with that of its folder where two have the same."""
    resolved = [path.resolve() for path in paths]
    names = [path.stem for path in resolved]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}-{path.stem}" for path in resolved]
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise UsageError(f"{twice}: two files have this name; import them one by one")
    return names
