"""Which trials of which runs are compared with each other."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.errors import UsageError
from overnight.ids import canonical_json
from overnight.importing.choosing import listed, nearest
from overnight.store.manifest import RunManifest, TrialRecord, TrialState, broken_seals, read_manifest
from overnight.store.run_folder import RunFolder, find_run

_TWO = 2  # runs that a comparison takes
# Content that two runs may have changed on purpose; their names say which trials belong together.
_NO_AXES = frozenset({"model_digest", "prompt_digests"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenTrial:
    """One trial and the run it belongs to."""

    label: str  # what it is called in the comparison
    folder: RunFolder
    slug: str
    record: TrialRecord

    @property
    def effective_model(self) -> dict[str, Any]:
        """What answered, whatever it was called: the weights and how they were held."""
        found = self.record.effective or self.record.requested
        identity = {key: found.get(key) for key in ("engine", "quantization")}
        digest = found.get("model_digest")
        return identity | ({"model_digest": digest} if digest else {"model": found.get("model")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Trials side by side: one group a comparison, one trial of each run in it."""

    labels: tuple[str, ...]
    folders: tuple[RunFolder, ...]  # in the order of the labels
    groups: dict[
        str, tuple[ChosenTrial, ...]
    ]  # by what the trials of a group have in common; "" for the only one
    left_out: tuple[str, ...]  # trials without a partner, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operand:
    word: str
    folder: RunFolder
    manifest: RunManifest
    slugs: tuple[str, ...]


def choose_trials(experiments: Path, words: Sequence[str], *, is_partial_allowed: bool = False) -> Choice:
    """Return the trials that some words mean: runs (by id, with or without ``run_``, or path) or RUN/SLUG.

    Where each word means one trial, they are one group. Otherwise trials are matched by whatever tells the
    trials of a run apart (prompt set, model, sampling).

    Raises:
        UsageError: fewer than two words, no such run or trial, a trial twice, no partners, or an unfinished trial.
        StoreError: a manifest cannot be read, or a table is not the one that was sealed.
    """
    if len(words) < _TWO:
        raise UsageError(f"{len(words)} run; a comparison takes two or more: `overnight compare RUN_A RUN_B`")
    operands = [_operand(experiments, word) for word in words]
    labels = _labels(operands)
    matched, left_out = _matched(operands, labels)
    groups = {
        name: tuple(
            ChosenTrial(label=label, folder=one.folder, slug=slug, record=one.manifest.trials[slug])
            for label, one, slug in zip(labels, operands, slugs, strict=True)
        )
        for name, slugs in matched.items()
    }
    for group in groups.values():
        for trial in group:
            _require_finished(trial, is_partial_allowed=is_partial_allowed)
    return Choice(
        labels=labels, folders=tuple(one.folder for one in operands), groups=groups, left_out=left_out
    )


def _operand(experiments: Path, word: str) -> _Operand:
    word = word.rstrip("/") or word
    try:
        folder = find_run(experiments, word)
    except UsageError:
        run, slash, slug = word.rpartition("/")
        if not slash:
            raise
        folder = find_run(experiments, run)
        manifest = read_manifest(folder)
        fitting = [name for name in manifest.trials if name == slug] or [
            name for name in manifest.trials if name.startswith(slug)
        ]
        if len(fitting) != 1:
            many = f"{len(fitting)} trials begin so ({listed(fitting)}); give the whole name"
            raise UsageError(
                f"{word}: {many if fitting else nearest(slug, list(manifest.trials), 'trial')}"
            ) from None
        return _Operand(word=word, folder=folder, manifest=manifest, slugs=(fitting[0],))
    manifest = read_manifest(folder)
    if not manifest.trials:
        raise UsageError(f"{word}: this run has no trial")
    return _Operand(word=word, folder=folder, manifest=manifest, slugs=tuple(manifest.trials))


def _labels(operands: Sequence[_Operand]) -> tuple[str, ...]:
    """Name each by its run, or, where two are of one run, by its trial too."""
    whole = Counter((one.folder.path, one.slugs) for one in operands)
    if twice := next((one for one in operands if whole[one.folder.path, one.slugs] > 1), None):
        raise UsageError(f"{twice.word} stands twice; name two different runs or trials")
    for name in (
        lambda one: one.folder.run_id,
        lambda one: f"{one.folder.run_id}/{one.slugs[0]}",
        lambda one: f"{one.folder.path}/{one.slugs[0]}",
    ):
        labels = tuple(name(one) for one in operands)
        if len(set(labels)) == len(labels):
            return labels
    raise UsageError(f"{operands[0].folder.run_id}: a run and a trial of it; name two trials as RUN/SLUG")


def _matched(
    operands: Sequence[_Operand], labels: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    if all(len(one.slugs) == 1 for one in operands):
        return {"": tuple(one.slugs[0] for one in operands)}, ()
    axes = _axes(operands)
    by_cell: list[dict[str, str]] = []
    for one in operands:
        cells = {_cell(one.manifest.trials[slug].requested, axes): slug for slug in one.slugs}
        if len(cells) < len(one.slugs):
            raise UsageError(f"{one.word}: has trials that nothing tells apart; name them as RUN/SLUG")
        by_cell.append(cells)
    common = [cell for cell in by_cell[0] if all(cell in cells for cells in by_cell)]
    if not common:
        raise UsageError(
            f"{' and '.join(one.word for one in operands)}: no two trials have the same {' and '.join(axes)}; "
            f"name them as RUN/SLUG ({listed(operands[0].slugs)})"
        )
    left_out = tuple(
        f"{label}: {slug} has no partner in every other run and is left out"
        for label, cells in zip(labels, by_cell, strict=True)
        for cell, slug in cells.items()
        if cell not in common
    )
    return {cell: tuple(cells[cell] for cells in by_cell) for cell in common}, left_out


def _axes(operands: Sequence[_Operand]) -> list[str]:
    """Return the fields in which the trials of one run differ."""
    found: dict[str, None] = {}
    for one in operands:
        requested = [one.manifest.trials[slug].requested for slug in one.slugs]
        for key in dict.fromkeys(key for fields in requested for key in fields):
            if key not in _NO_AXES and len({canonical_json(fields.get(key)) for fields in requested}) > 1:
                found[key] = None
    return list(found)


def _cell(requested: dict[str, Any], axes: Sequence[str]) -> str:
    values = {axis: requested.get(axis) for axis in axes}
    return ", ".join(
        f"{axis} {value if isinstance(value, str) else canonical_json(value)}"
        for axis, value in values.items()
    )


def _require_finished(trial: ChosenTrial, *, is_partial_allowed: bool) -> None:
    if trial.record.state is not TrialState.DONE and not is_partial_allowed:
        raise UsageError(
            f"{trial.folder.run_id}/{trial.slug}: is {trial.record.state.value}, not done; go on with `overnight "
            f"resume {trial.folder.run_id}`, or compare what is there with --unfinished"
        )
    scores = trial.folder.trial(trial.slug).scores
    name = scores.relative_to(trial.folder.path).as_posix()
    sealed = {name: seal} if (seal := trial.record.artifacts.get(name)) else {}
    if broken_seals(trial.folder.path, sealed):
        raise UsageError(
            f"{scores}: is missing or not the file that the manifest names; "
            f"`overnight resume {trial.folder.run_id} --from-step score` writes it again"
        )
