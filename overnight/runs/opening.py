"""Opening a run: a new folder, or one that goes on."""

import contextlib
import re
import secrets
import shutil
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from overnight.credentials import values_without_credentials
from overnight.datasets.freezing import load_items, prepare_items, shots_path
from overnight.errors import StoreError, UsageError
from overnight.ids import new_run_id
from overnight.memory.fitting import fit_blocks, predicted_memory
from overnight.memory.sharing import waves_of
from overnight.memory.widths import widths_of_models
from overnight.planning.plan import Plan, make_plan, plan_record
from overnight.records import Item
from overnight.runs.predicting import predict_run
from overnight.spec.dataset import DatasetSpec
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import SweepSpec, validate_sweep
from overnight.spec.trait_capture import TraitCaptureSpec
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec
from overnight.store.files import (
    copy_file,
    read_json,
    read_object,
    remove_scratch,
    require_writable,
    sync_folder,
    write_json,
    write_text,
)
from overnight.store.manifest import (
    Artifact,
    BlockRecord,
    EstimateRecord,
    RunManifest,
    TrialRecord,
    broken_seals,
    read_manifest,
    seal,
    update_manifest,
    write_manifest,
)
from overnight.store.run_folder import RunFolder, find_run, list_runs, run_path
from overnight.store.run_lock import has_jobs_at_work, run_lock
from overnight.store.writers import NAME, is_at_work, writer_name
from overnight.telemetry.environment import describe_environment

_NAMED_KEYS = 3  # of those in which two experiments differ
_MAKING = re.compile(rf"\.making-{NAME}")


@contextlib.contextmanager
def opened_run(spec: SweepSpec, options: RunOptions) -> Iterator[RunFolder]:
    """Hold the folder of a run, new or going on, while the block runs.

    Raises:
        UsageError: the run cannot be made, is another experiment, or another process works on it.
    """
    if not options.resume:
        folder = create_run(spec, options)
        with run_lock(folder):
            yield folder
        return
    folder = _run_of(options)
    with run_lock(folder):
        reopen_run(folder, spec, options.overrides)
        yield folder


def frozen_items(options: RunOptions) -> Path | None:
    """Return the folder where the items of a run that goes on are frozen, or None for a new run."""
    if not options.resume:
        return None
    folder = _run_of(options)
    return None if broken_seals(folder.path, read_manifest(folder).items) else folder.path / "items"


def _run_of(options: RunOptions) -> RunFolder:
    """Return the run that goes on: by its id, never by a path, which a deployment's form has no business with.

    Raises:
        UsageError: there is no such run, or the id is none.
    """
    return find_run(options.experiments_dir, run_path(options.experiments_dir, options.run_id or "").name)


def create_run(spec: SweepSpec, options: RunOptions) -> RunFolder:
    """Make the folder of a new run: frozen items, plan, configuration, and, last, the manifest.

    Args:
        spec: resolved.
        options: where, and under which name.

    Raises:
        UsageError: the name is taken, an item is wrong, or the disk has no room; nothing is left behind.
    """
    experiments = options.experiments_dir
    folder = RunFolder(run_path(experiments, options.run_id or new_run_id()))
    _require_new(folder)
    items_path = prepare_items(spec.experiment).path
    names = dataset_names(spec)
    plan = make_plan(
        spec,
        load_items([items_path / f"{name}.jsonl" for name in names]),
        load_shots(items_path, names),
        widths_of_models(spec),
    )
    require_writable(experiments, plan.bytes_on_disk)
    with _left_whole_or_not_at_all(folder) as draft:
        for name in names:
            copy_file(items_path / f"{name}.jsonl", draft.items(name))
            if (shots := shots_path(items_path, name)).is_file():
                copy_file(shots, shots_path(draft.items_folder, name))
        write_json(draft.preparation, read_json(items_path / folder.preparation.name))
        predicted = predict_run(plan, spec.execution)
        memory = predicted_memory(fit_blocks(plan, spec.execution))
        waves = [wave.as_row() for wave in waves_of(plan.blocks, spec.execution)]
        write_json(draft.plan, plan_record(plan, predicted.as_row(), memory, waves))
        write_text(draft.effective_config, config_text(spec))
        write_json(draft.overrides, list(options.overrides))
        now = datetime.now(UTC)
        # The last write but one: the folder's name is the commit.
        write_manifest(
            draft,
            RunManifest(
                run_id=folder.run_id,
                kind=spec.kind,
                name=spec.name,
                fingerprint=plan.fingerprint,
                created=now,
                updated=now,
                execution=spec.execution.model_dump(mode="json"),
                environment=describe_environment(),
                items=_sealed_items(draft, plan, names),
                blocks={
                    block.model.name: BlockRecord(model=block.model.name, digest=block.model.sha256 or "")
                    for block in plan.blocks
                },
                trials={
                    trial.slug: TrialRecord(fingerprint=trial.fingerprint, requested=trial.requested())
                    for trial in plan.trials
                },
                estimate=EstimateRecord(
                    predicted_s=predicted.run.seconds,
                    low_s=predicted.run.low_s,
                    high_s=predicted.run.high_s,
                    predicted_bytes=plan.bytes_on_disk,
                    n_requests=plan.n_requests,
                    undefined_because=predicted.run.undefined_because,
                ),
            ),
        )
    return folder


def load_shots(items: Path, datasets: Sequence[str]) -> dict[str, list[Item]]:
    """Return the answered questions that come before those of each dataset; a dataset without any is left out."""
    paths = {name: shots_path(items, name) for name in datasets}
    return {name: load_items([path]) for name, path in paths.items() if path.is_file()}


def _sealed_items(folder: RunFolder, plan: Plan, names: Sequence[str]) -> dict[str, Artifact]:
    n_rows = Counter(item.dataset for item in plan.items)
    shots = [shots_path(folder.items_folder, name) for name in names]
    return dict(
        [
            *(seal(folder.path, folder.items(name), rows=n_rows[name]) for name in names),
            *(seal(folder.path, path) for path in shots if path.is_file()),
        ]
    )


def _require_new(folder: RunFolder) -> None:
    if folder.manifest.exists():
        raise UsageError(
            f"run {folder.run_id} exists already in {folder.path.parent}; choose another --run-id, "
            f"or go on with it by `overnight resume {folder.run_id}`"
        )
    if folder.path.exists():
        raise UsageError(
            f"{folder.path}: there is something that is no run; take it away, or choose another --run-id"
        )


@contextlib.contextmanager
def _left_whole_or_not_at_all(folder: RunFolder) -> Iterator[RunFolder]:
    """Give a folder that gets its name when the block ends well, and is gone otherwise.

    A full disk leaves no half a run, and neither does a process that is killed: its name is still free, and what it has
    left is taken away by whoever makes the next run.
    """
    experiments = folder.path.parent
    scratch = experiments / f".making-{writer_name(datetime.now(UTC), secrets.token_hex(4))}"
    try:
        for path in experiments.glob(".making-*"):
            writer = _MAKING.fullmatch(path.name)
            if writer is not None and not is_at_work(path, writer):
                shutil.rmtree(path, ignore_errors=True)
        scratch.mkdir()
        try:
            yield RunFolder(scratch)
            _require_new(folder)
            scratch.rename(folder.path)
            sync_folder(experiments)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"{folder.path}: cannot be written ({error.strerror}); "
            "free some space, or choose another folder or --run-id"
        ) from None


def reopen_run(folder: RunFolder, spec: SweepSpec, overrides: Sequence[dict[str, Any]] = ()) -> None:
    """Make a run ready to go on with a configuration; what it has done stays.

    Raises:
        UsageError: the configuration is another experiment, or the frozen items were changed.
    """
    manifest = read_manifest(folder)
    check_same_experiment(folder, manifest, spec)
    if broken := broken_seals(folder.path, manifest.items):
        raise UsageError(
            f"run {folder.run_id}: {broken[0]} is not the file that the run began with; "
            "restore it, or start a new run"
        )
    plan = load_plan(folder, spec)
    # The prediction is that of the evening: what the run itself has taught since is no prediction of it.
    evening = read_object(folder.plan) if folder.plan.is_file() else {}
    memory = _memory_of_blocks(folder.plan, evening.get("blocks", []))
    write_json(folder.plan, plan_record(plan, evening.get("predicted"), memory, evening.get("waves")))
    write_text(folder.effective_config, config_text(spec))
    if not has_jobs_at_work(folder):
        remove_scratch(folder.path)
    known = read_json(folder.overrides) if folder.overrides.is_file() else []
    if not isinstance(known, list):
        raise StoreError(f"{folder.overrides}: found a {type(known).__name__}, wanted a list; delete it")
    write_json(folder.overrides, known + [override for override in overrides if override not in known])
    update_manifest(
        folder, lambda m: m.model_copy(update={"execution": spec.execution.model_dump(mode="json")})
    )


def _memory_of_blocks(path: Path, blocks: Any) -> dict[str, Any]:
    try:
        return {str(block["model"]): block.get("predicted_memory") for block in blocks}
    except (KeyError, TypeError, AttributeError):
        raise StoreError(f"{path}: its blocks are none of a plan; delete it, and resume the run") from None


def check_same_experiment(folder: RunFolder, manifest: RunManifest, spec: SweepSpec) -> None:
    """Refuse to go on with another experiment, and say what differs.

    Raises:
        UsageError: it is another kind of experiment, or another one of the same kind.
    """
    if manifest.kind != spec.kind:
        raise UsageError(
            f"run {folder.run_id} is a {manifest.kind}, the config is a {spec.kind}; start a new run"
        )
    plan = load_plan(folder, spec)
    if plan.fingerprint == manifest.fingerprint:
        return
    before = read_mapping(folder.effective_config, "the configuration of the run", expand=False)
    after = spec.model_dump(mode="json")
    keys = _differences(before.get("experiment"), after["experiment"], "experiment")
    named = ", ".join(keys[:_NAMED_KEYS]) or "code that changes answers"
    more = f" (and {len(keys) - _NAMED_KEYS} more)" if len(keys) > _NAMED_KEYS else ""
    raise UsageError(
        f"run {folder.run_id} is another experiment, it differs in {named}{more}; "
        "start a new run, or undo the change"
    )


# Of the run that this process works on: each of its trials asks for both, and with a thousand trials a configuration
# takes 50 ms and a plan half a second. A plan, which has all items, is kept for as long as somebody else has it.
_SPEC: dict[Path, tuple[bytes, SweepSpec]] = {}
_PLAN: dict[Path, tuple["weakref.ref[Plan]", SweepSpec, dict[str, Any]]] = {}


def load_spec(folder: RunFolder) -> SweepSpec:
    """Return the configuration that a run ran with last."""
    path = folder.effective_config
    text = path.read_bytes() if path.is_file() else None
    if (known := _SPEC.get(path)) is not None and known[0] == text:
        return known[1]
    value = read_mapping(path, "the configuration of the run", expand=False)
    spec = validate_sweep(value, path)
    if text is not None:
        _SPEC.clear()
        _SPEC[path] = text, spec
    return spec


def load_prompt_sweep(folder: RunFolder) -> PromptSweepSpec:
    """Return the configuration of a prompt sweep.

    Raises:
        UsageError: the run is of another kind.
    """
    spec = load_spec(folder)
    if not isinstance(spec, PromptSweepSpec):
        raise UsageError(f"run {folder.run_id} is a {spec.kind}, a prompt-sweep was wanted")
    return spec


def load_uncertainty_sweep(folder: RunFolder) -> UncertaintySweepSpec:
    """Return the configuration of an uncertainty sweep.

    Raises:
        UsageError: the run is of another kind.
    """
    spec = load_spec(folder)
    if not isinstance(spec, UncertaintySweepSpec):
        raise UsageError(f"run {folder.run_id} is a {spec.kind}, an uncertainty-sweep was wanted")
    return spec


def load_trait_capture(folder: RunFolder) -> TraitCaptureSpec:
    """Return the configuration of a trait capture.

    Raises:
        UsageError: the run is of another kind.
    """
    spec = load_spec(folder)
    if not isinstance(spec, TraitCaptureSpec):
        raise UsageError(f"run {folder.run_id} is a {spec.kind}, a trait-capture was wanted")
    return spec


def load_plan(folder: RunFolder, spec: SweepSpec) -> Plan:
    """Return the plan of a run over its frozen items."""
    paths = [folder.items(name) for name in dataset_names(spec)]
    if missing := [path for path in paths if not path.is_file()]:
        raise UsageError(
            f"run {folder.run_id} is another experiment: it has no {missing[0].name}; start a new run"
        )
    shots = [shots_path(folder.items_folder, name) for name in dataset_names(spec)]
    widths = widths_of_models(spec)
    made_of = {"files": [_mark(path) for path in (*paths, *shots)], "widths": widths}
    if (known := _PLAN.get(folder.path)) is not None:
        plan = known[0]()
        if plan is not None and known[2] == made_of and (known[1] is spec or known[1] == spec):
            return plan
    plan = make_plan(spec, load_items(paths), load_shots(folder.items_folder, dataset_names(spec)), widths)
    _PLAN.clear()
    _PLAN[folder.path] = weakref.ref(plan), spec, made_of
    return plan


def _mark(path: Path) -> tuple[int, ...] | None:
    """Return what changes with a file; frozen items are replaced whole, or not at all."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def find_same_experiment(experiments: Path, fingerprint: str) -> RunFolder:
    """Return the newest run of an experiment.

    Raises:
        UsageError: there is none.
    """
    for folder in reversed(list_runs(experiments)):
        if read_manifest(folder).fingerprint == fingerprint:
            return folder
    raise UsageError(
        f"no run of this experiment in {experiments}; name the run to go on with, or leave out --resume"
    )


def dataset_names(spec: SweepSpec) -> list[str]:
    """Return the names of a resolved sweep's datasets."""
    return [d.name if isinstance(d, DatasetSpec) else d for d in spec.experiment.datasets]


def config_text(spec: SweepSpec) -> str:
    """Return a sweep as YAML that reads back as the same sweep."""
    value = spec.model_dump(mode="json")
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=False, width=110)


def override_rows(overrides: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Return overrides as they stand in ``overrides.json``."""
    return tuple(values_without_credentials(asdict(override)) for override in overrides)


def _differences(before: Any, after: Any, key: str) -> list[str]:
    """Return the dotted keys whose values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            difference
            for name in sorted(before.keys() | after.keys())
            for difference in _differences(before.get(name), after.get(name), f"{key}.{name}")
        ]
    return [] if before == after else [key]
