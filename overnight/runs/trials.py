"""A trial in the manifest: when it counts as done, and what is written down when it begins and ends."""

from datetime import UTC, datetime
from typing import Any, get_args

from overnight.engines.state import read_state
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trial import Trial
from overnight.runs.captured import captured_rows
from overnight.runs.expected import expected_draws, has_vectors
from overnight.runs.generating import Generated, count_draws
from overnight.spec.model import EngineKind
from overnight.spec.prompt_sweep import Analysis
from overnight.spec.steps import Step, StepRange
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
    """True where the manifest says that a trial is done, for all its draws, and its files are what they were.

    Reconstructions are in no seal of their own but in the list of chunks, which says how long each file has to be.
    """
    record = read_manifest(folder).trials[slug]
    trial = next(each for each in plan.trials if each.slug == slug)
    return (
        record.state is TrialState.DONE
        and record.counts.done == expected_draws(folder, plan, trial)
        and not broken_seals(folder.path, record.artifacts)
        and (
            not isinstance(trial, BestOfKTrial) or count_draws(folder, plan, trial).done == record.counts.done
        )
    )


def needs_engine(folder: RunFolder, plan: Plan, trial: Trial) -> bool:
    """True where a trial has draws that are not done yet, or prompts that are not captured."""
    expected = expected_draws(folder, plan, trial)
    if is_finished(folder, plan, trial.slug):
        return False
    if isinstance(trial, BestOfKTrial) and not has_vectors(folder, trial):
        return True
    return count_draws(folder, plan, trial).done < expected or (
        trial.captures and len(captured_rows(folder, trial.slug)) < expected
    )


def needs_model(folder: RunFolder, plan: Plan, trial: Trial, steps: StepRange) -> bool:
    """True where some steps of a trial need its model: to ask it, or to read vectors that are going to be asked."""
    if steps.asks:
        return needs_engine(folder, plan, trial)
    return isinstance(trial, BestOfKTrial) and steps.has(Step.BUILD) and not has_vectors(folder, trial)


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
    """Say in the manifest what was generated, and with what; no time where no request was sent."""
    effective = _effective(folder, block) if generated.n_sent else _model(block)

    def change(manifest: RunManifest) -> RunManifest:
        record = manifest.trials[slug]
        if not generated.n_sent:  # cached answers say what gave them, and not how it was held
            return manifest.with_trial(slug, counts=generated.counts, effective=record.effective or effective)
        inference_s = round((record.timings.inference_s or 0.0) + generated.inference_s, 3)
        return manifest.with_trial(
            slug,
            counts=generated.counts,
            effective=effective,
            timings=record.timings.model_copy(update={"inference_s": inference_s}),
            energy=energy.plus(record.energy) if energy else record.energy,
        )

    if generated.n_sent or generated.counts.cache_hits:
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
    n_predictions: int | None = None,
) -> None:
    """Seal a trial's files and say in the manifest how it ended; by default there is a prediction a draw."""
    artifacts = trial_artifacts(folder, slug, counts.expected if n_predictions is None else n_predictions)
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


def trial_artifacts(folder: RunFolder, slug: str, n_predictions: int) -> dict[str, Artifact]:
    """Return the seals of whatever files a trial has."""
    trial = folder.trial(slug)
    rows = {trial.predictions: n_predictions}
    files = [
        trial.journal,
        trial.predictions,
        trial.scores,
        trial.squad,
        trial.significance,
        trial.costs,
        trial.lone_answers,
        trial.audit,
        trial.report,
        *map(trial.analysis, get_args(Analysis)),
        trial.capture_journal,
        trial.captures,
        trial.projections,
        trial.projections.with_suffix(".csv"),
        trial.projection_summary,
        trial.capture_index,
        trial.capture_facts,
        trial.vectors,
        trial.candidates,
        trial.k_sweep,
        trial.k_sweep_table,
        trial.recovery_sums,
        trial.chunks,  # with the digests of the reconstructions
        *(folder.path / row["path"] for row in captured_rows(folder, slug).values()),
        *sorted(folder.batch_inputs(slug).glob("*.jsonl")),
    ]
    return dict(seal(folder.path, file, rows=rows.get(file)) for file in files if file.is_file())


def _model(block: ModelBlock) -> dict[str, Any]:
    """Return what answered."""
    return {
        "model": block.held.model.name,
        "model_digest": block.held.model.sha256,
        "engine": block.held.model.engine.value,
        "quantization": block.held.model.quantization,
    }


def _effective(folder: RunFolder, block: ModelBlock) -> dict[str, Any]:
    """Return what answered: the model and how it was held."""
    model = _model(block)
    if block.held.model.engine is EngineKind.DRY_RUN:
        return {name: value for name, value in model.items() if name != "quantization"}
    state = read_state(folder.engines / f"{block.held.model.name}.json")
    return model | {"slots": state.slots, "context_tokens": state.context_tokens}
