"""A trial in the manifest: when it counts as done, and what is written down when it begins and ends."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from overnight.engines.dry_run import DryRunEngine
from overnight.engines.host import HostSettings, physical_cores, read_state
from overnight.engines.llama_cpp import LlamaCppEngine
from overnight.engines.protocol import Engine
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trials import Trial
from overnight.runs.generating import Generated, count_draws
from overnight.spec.model import EngineKind
from overnight.spec.prompt_sweep import Execution
from overnight.store.manifest import (
    Artifact,
    Energy,
    RunManifest,
    TrialCounts,
    TrialState,
    broken_seals,
    read_manifest,
    seal,
    update_manifest,
)
from overnight.store.run_folder import RunFolder


def is_finished(folder: RunFolder, plan: Plan, slug: str) -> bool:
    """True where the manifest says that a trial is done, for all its draws, and its files are what they were."""
    record = read_manifest(folder).trials[slug]
    return (
        record.state is TrialState.DONE
        and record.counts.done == plan.requests_per_trial[slug]
        and not broken_seals(folder.path, record.artifacts)
    )


def needs_engine(folder: RunFolder, plan: Plan, trial: Trial) -> bool:
    """True where a trial has draws that are not done yet."""
    return (
        not is_finished(folder, plan, trial.slug)
        and count_draws(folder, plan, trial).done < (plan.requests_per_trial[trial.slug])
    )


def host_settings(block: ModelBlock, weights: Path, execution: Execution) -> HostSettings:
    """Return how a block's model is to be held."""
    engine = execution.engine
    return HostSettings(
        model_path=weights,
        slots=execution.max_concurrent_requests,
        context_tokens=block.context_tokens,
        threads=engine.threads or physical_cores(),
        gpu_layers=engine.gpu_layers,
        batch_invariant=engine.batch_invariant,
        startup_timeout_s=engine.startup_timeout_s,
    )


def connect(folder: RunFolder, block: ModelBlock, execution: Execution) -> Engine:
    """Return the engine of a block, by the address that its host left in the run folder."""
    if block.model.engine is EngineKind.DRY_RUN:
        return DryRunEngine()
    return LlamaCppEngine(
        folder.engines / f"{block.model.name}.json",
        timeout_s=execution.request_timeout_s,
        startup_timeout_s=execution.engine.startup_timeout_s,
    )


def begin_trial(folder: RunFolder, slug: str) -> None:
    """Say in the manifest that a trial runs."""
    update_manifest(
        folder,
        lambda m: m.with_trial(
            slug,
            state=TrialState.RUNNING,
            error=None,
            timings=m.trials[slug].timings.model_copy(
                update={"started": m.trials[slug].timings.started or datetime.now(UTC)}
            ),
        ),
    )


def note_generated(
    folder: RunFolder, block: ModelBlock, slug: str, generated: Generated, energy: Energy | None = None
) -> None:
    """Say in the manifest what was generated, and with what; nothing new where no request was sent."""
    if not generated.n_sent:
        return
    effective = _effective(folder, block)

    def change(manifest: RunManifest) -> RunManifest:
        record = manifest.trials[slug]
        timings = record.timings
        inference_s = round((timings.inference_s or 0.0) + generated.inference_s, 3)
        return manifest.with_trial(
            slug,
            counts=generated.counts,
            effective=effective,
            timings=timings.model_copy(update={"inference_s": inference_s}),
            energy=energy.plus(record.energy) if energy else record.energy,
        )

    update_manifest(folder, change)


def note_interrupted(folder: RunFolder, slug: str, inference_s: float, energy: Energy) -> None:
    """Say in the manifest how long a stretch took that was stopped or that failed, and what it used."""

    def change(manifest: RunManifest) -> RunManifest:
        record = manifest.trials[slug]
        seconds = round((record.timings.inference_s or 0.0) + inference_s, 3)
        return manifest.with_trial(
            slug,
            timings=record.timings.model_copy(update={"inference_s": seconds}),
            energy=energy.plus(record.energy),
        )

    update_manifest(folder, change)


def end_trial(
    folder: RunFolder,
    slug: str,
    *,
    state: TrialState,
    counts: TrialCounts,
    error: str | None = None,
) -> None:
    """Seal a trial's files and say in the manifest how it ended."""
    artifacts = trial_artifacts(folder, slug, counts)
    update_manifest(
        folder,
        lambda m: m.with_trial(
            slug,
            state=state,
            counts=counts,
            error=error,
            artifacts=artifacts,
            timings=m.trials[slug].timings.model_copy(update={"ended": datetime.now(UTC)}),
        ),
    )


def trial_artifacts(folder: RunFolder, slug: str, counts: TrialCounts) -> dict[str, Artifact]:
    """Return the seals of whatever files a trial has."""
    trial = folder.trial(slug)
    rows = {trial.predictions: counts.expected}
    files = [
        trial.journal,
        trial.predictions,
        trial.scores,
        trial.significance,
        trial.costs,
        trial.report,
        *sorted(folder.batch_inputs(slug).glob("*.jsonl")),
    ]
    return dict(seal(folder.path, file, rows=rows.get(file)) for file in files if file.is_file())


def _effective(folder: RunFolder, block: ModelBlock) -> dict[str, Any]:
    """Return what answered: the model and how it was held."""
    model = {
        "model": block.model.name,
        "model_digest": block.model.sha256,
        "engine": block.model.engine.value,
    }
    if block.model.engine is EngineKind.DRY_RUN:
        return model
    state = read_state(folder.engines / f"{block.model.name}.json")
    return model | {
        "quantization": block.model.quantization,
        "slots": state.slots,
        "context_tokens": state.context_tokens,
    }
