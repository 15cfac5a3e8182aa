"""How blocks and runs end, in the manifest."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from overnight.engines.state import EngineState
from overnight.errors import OvernightError, StopRequested
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trial import Trial
from overnight.runs.captured import what_is_not_captured
from overnight.runs.generating import count_draws
from overnight.runs.trials import end_trial
from overnight.spec.prompt_sweep import Analysis
from overnight.spec.steps import Step, StepRange
from overnight.store.manifest import (
    EstimateRecord,
    RunManifest,
    TrialCounts,
    TrialState,
    broken_seals,
    read_manifest,
    seal,
    update_manifest,
)
from overnight.store.run_folder import RunFolder
from overnight.store.run_lock import has_jobs_at_work

CANCELLED = "it was cancelled, or its machine went down"


def end_block(folder: RunFolder, block: ModelBlock, host: EngineState, held_from: datetime) -> None:
    """Add what a host did to what its block did before; it has let go now."""
    held_to = datetime.now(UTC)

    def change(manifest: RunManifest) -> RunManifest:
        before = manifest.blocks[block.model.name]
        after = before.model_copy(
            update={
                "loads": before.loads + host.loads,
                "restarts": before.restarts + host.restarts,
                "load_s": host.load_s,
                "placement": host.placement,
                "held_from": held_from,
                "held_to": held_to,
            }
        )
        return manifest.model_copy(update={"blocks": {**manifest.blocks, block.model.name: after}})

    update_manifest(folder, change)


def fail_trials(folder: RunFolder, plan: Plan, trials: Sequence[Trial], error: OvernightError) -> None:
    """Say of some trials that they could not run, and why."""
    _end_trials(folder, plan, trials, TrialState.FAILED, error)


def stop_trials(folder: RunFolder, plan: Plan, trials: Sequence[Trial], stop: StopRequested) -> None:
    """Say of some trials that they were stopped."""
    _end_trials(folder, plan, trials, TrialState.STOPPED, stop)


def _end_trials(
    folder: RunFolder, plan: Plan, trials: Sequence[Trial], state: TrialState, why: OvernightError
) -> None:
    for trial in trials:
        end_trial(folder, trial.slug, state=state, counts=count_draws(folder, plan, trial), error=str(why))


def cut_trial(folder: RunFolder, slug: str, counts: TrialCounts, tabled: Plan, why: str) -> None:
    """End a trial that a deadline cut off; its tables hold the items that are complete."""
    end_trial(
        folder,
        slug,
        state=TrialState.STOPPED,
        counts=counts,
        error=why,
        n_predictions=tabled.requests_per_trial[slug],
    )


def settle_trial(
    folder: RunFolder, slug: str, counts: TrialCounts, steps: StepRange, *, captures: bool = False
) -> str | None:
    """End a trial whose steps went through; return what is wrong with it all the same, or None."""
    error = None
    if steps.has(Step.SUBMIT, Step.POLL) or counts.done + counts.errors == counts.expected:
        if counts.errors:
            error = (
                f"{counts.errors} of {counts.expected} requests failed; `overnight resume` asks them again"
            )
        elif counts.done < counts.expected:
            error = f"{counts.done} of {counts.expected} draws are done"
        elif captures:
            error = what_is_not_captured(folder, slug, counts.expected)
    state = TrialState.FAILED if error else TrialState.DONE if steps.has(Step.COSTS) else TrialState.PARTIAL
    end_trial(folder, slug, state=state, counts=counts, error=error)
    return error


def scored_trials(folder: RunFolder, plan: Plan) -> list[str]:
    """Return the slugs of the trials whose scores are there and are what was written."""
    manifest = read_manifest(folder)
    slugs = []
    for trial in plan.trials:
        name = folder.trial(trial.slug).scores.relative_to(folder.path).as_posix()
        artifact = manifest.trials[trial.slug].artifacts.get(name)
        if artifact and not broken_seals(folder.path, {name: artifact}):
            slugs.append(trial.slug)
    return slugs


def end_run(folder: RunFolder, state: TrialState, error: str | None = None) -> None:
    """Say how a run ended."""

    def change(manifest: RunManifest) -> RunManifest:
        estimate = manifest.estimate and measured_estimate(folder, manifest, manifest.estimate)
        return manifest.model_copy(update={"state": state, "error": error, "estimate": estimate})

    update_manifest(folder, change)
    folder.stop_request.unlink(missing_ok=True)
    if not has_jobs_at_work(folder):
        # Of a process that was killed: nobody holds a model for this run any more.
        for left in folder.engines.glob("*.json"):
            left.unlink(missing_ok=True)


def measured_estimate(folder: RunFolder, manifest: RunManifest, before: EstimateRecord) -> EstimateRecord:
    """Return what was predicted beside what it took: seconds of loading and of inference, bytes on disk."""
    loads = [block.load_s for block in manifest.blocks.values() if block.load_s is not None]
    inference = [t.timings.inference_s for t in manifest.trials.values() if t.timings.inference_s is not None]
    n_bytes = sum(entry.st_size for entry in map(_entry, folder.path.rglob("*")) if entry is not None)
    return before.model_copy(
        update={
            "measured_s": round(sum(loads) + sum(inference), 3) if inference else None,
            "measured_bytes": n_bytes,
            "n_done": sum(trial.counts.done for trial in manifest.trials.values()),
        }
    )


def _entry(path: Path) -> os.stat_result | None:
    """Return what the system says of a file; None for a folder, and for a file that has just gone."""
    try:
        return path.stat() if path.is_file() else None
    except OSError:
        return None


def seal_reports(folder: RunFolder) -> None:
    """Seal what is written after the trials have ended: comparisons, reports, figures."""

    def change(manifest: RunManifest) -> RunManifest:
        for slug, record in manifest.trials.items():
            if record.artifacts:
                trial = folder.trial(slug)
                late = [
                    trial.significance,
                    trial.report,
                    *map(trial.analysis, get_args(Analysis)),
                    trial.relevance,
                    trial.clusters,
                    trial.judgements,
                    trial.uncertainty,
                    trial.uncertainty_columns,
                    trial.weighting_study,
                ]
                sealed = dict(seal(folder.path, file) for file in late if file.is_file())
                manifest = manifest.with_trial(slug, artifacts={**record.artifacts, **sealed})
        files = [
            folder.plan,
            folder.effective_config,
            folder.aggregate_report,
            folder.html_report,
            folder.summary,
            folder.k_sweep_summary,
            folder.comparisons,
            folder.uncertainty,
            folder.auroc_results,
            folder.auroc_results.with_suffix(".csv"),
            folder.analysis,
            folder.analysis_summary,
        ]
        files += sorted(folder.figures.rglob("*.p*"))
        files += sorted(folder.all_vectors.rglob("*.*"))
        artifacts = dict(seal(folder.path, file) for file in files if file.is_file())
        return manifest.model_copy(update={"artifacts": artifacts})

    update_manifest(folder, change)


def begin_run(folder: RunFolder) -> None:
    """Say that a process works on the run."""
    update_manifest(folder, lambda m: m.model_copy(update={"state": TrialState.RUNNING, "error": None}))
