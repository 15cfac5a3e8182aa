"""Down the ladder within a run: which rung a block is on, and what becomes of rows of the rung above."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from overnight.memory.fits import Fit
from overnight.memory.fitting import held_at_once, model_fit
from overnight.planning.ladder import Rung
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trial import Trial
from overnight.runs.trials import needs_engine
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind
from overnight.store.inside import child
from overnight.store.journal import read_rows
from overnight.store.manifest import RunManifest, read_manifest, update_manifest
from overnight.store.run_folder import RunFolder


def on_its_rung(folder: RunFolder, block: ModelBlock) -> ModelBlock:
    """Return a block on the rung that its run has come down to; a run that goes on does not climb back.

    With other settings of the execution the rungs are others: then it is the best one of the same model.
    """
    held = read_manifest(folder).blocks[block.model.name].held
    if held is None:
        return block
    labels = [_record(rung) for rung in block.ladder.rungs]
    index = labels.index(held) if held in labels else block.ladder.first_of(str(held["model"]))
    return replace(block, rung=index)


def fit_on_rung(rung: Rung, execution: Execution) -> Fit:
    """Return whether a model is expected to fit as a rung holds it, by its size and by what is free now."""
    slots = rung.slots if rung.model.engine is EngineKind.LLAMA_CPP else held_at_once(rung.model, execution)
    margin = execution.memory_margin or 0.0
    return model_fit(rung.model, slots, rung.context_tokens, rung.carried_out(execution), margin=margin).fit


def note_step(folder: RunFolder, block: ModelBlock, above: Rung | None, rung: Rung, reason: str) -> None:
    """Say in the manifest that a block is held on another rung, from where, and why.

    Args:
        folder: of the run.
        block: whose model it is.
        above: the rung that was left; None where the block begins lower than was asked for.
        rung: the one that the block is on now.
        reason: in a sentence.
    """
    above = above or block.ladder.rungs[0]
    step = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "from": above.label,
        "to": rung.label,
        "changes": rung.scope_of_step_from(above),
        "reason": reason,
    }

    def change(manifest: RunManifest) -> RunManifest:
        record = manifest.blocks[block.model.name]
        changed = record.model_copy(
            update={"held": _record(rung), "rung_history": (*record.rung_history, step)}
        )
        return manifest.model_copy(update={"blocks": {**manifest.blocks, block.model.name: changed}})

    update_manifest(folder, change)


def begin_on_rung(folder: RunFolder, plan: Plan, block: ModelBlock, trial: Trial) -> None:
    """Put away what another model answered in a trial, so that no two models share a table.

    The rows stay in the trial's folder, under ``results/set_aside/``; the trial begins again. One that has all its
    answers keeps them.
    """
    if not needs_engine(folder, plan, trial):
        return
    update_manifest(
        folder,
        lambda m: m.with_trial(trial.slug, rung_history=m.blocks[block.model.name].rung_history),
    )
    files = folder.trial(trial.slug)
    first = next(iter(read_rows(files.journal)), None)
    now = {"model": block.held.model.name, "model_digest": block.held.model.sha256}
    if first is None or {key: first.get(key) for key in now} == now:
        return
    files.set_aside.mkdir(parents=True, exist_ok=True)
    n_before = sum(1 for _ in files.set_aside.glob("*.jsonl"))
    aside = child(files.set_aside, f"{n_before + 1:02d}-{first.get('model')}")
    # What was made of its draws goes first: without their journal it would count for nothing, and stay.
    for path in (files.chunks, files.reconstructions, files.vectors):
        if path.exists():
            kept = aside / path.name
            kept.parent.mkdir(exist_ok=True)
            path.rename(kept)
    files.journal.rename(child(files.set_aside, aside.name, ".jsonl"))
    update_manifest(folder, lambda m: m.with_trial(trial.slug, effective=None))


def _record(rung: Rung) -> dict[str, Any]:
    return {
        "model": rung.model.name,
        "quantization": rung.model.quantization,
        "slots": rung.slots,
        "context_tokens": rung.context_tokens,
    }
