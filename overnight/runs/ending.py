"""How blocks and runs end, in the manifest."""

from overnight.engines.host import HostState
from overnight.errors import OvernightError
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trials import Trial
from overnight.runs.generating import count_draws
from overnight.runs.trials import end_trial
from overnight.spec.steps import Step, StepRange
from overnight.store.manifest import (
    RunManifest,
    TrialCounts,
    TrialState,
    broken_seals,
    read_manifest,
    seal,
    update_manifest,
)
from overnight.store.run_folder import RunFolder


def end_block(folder: RunFolder, block: ModelBlock, host: HostState) -> None:
    """Add what a host did to what its block did before."""

    def change(manifest: RunManifest) -> RunManifest:
        before = manifest.blocks[block.model.name]
        after = before.model_copy(
            update={
                "loads": before.loads + host.loads,
                "restarts": before.restarts + host.restarts,
                "load_s": host.load_s,
            }
        )
        return manifest.model_copy(update={"blocks": {**manifest.blocks, block.model.name: after}})

    update_manifest(folder, change)


def fail_trials(folder: RunFolder, plan: Plan, trials: list[Trial], error: OvernightError) -> None:
    """Say of some trials that they could not run, and why."""
    for trial in trials:
        counts = count_draws(folder, plan, trial)
        end_trial(folder, trial.slug, state=TrialState.FAILED, counts=counts, error=str(error))


def settle_trial(folder: RunFolder, slug: str, counts: TrialCounts, steps: StepRange) -> str | None:
    """End a trial whose steps went through; return what is wrong with it all the same, or None."""
    error = None
    if steps.has(Step.SUBMIT, Step.POLL) or counts.done + counts.errors == counts.expected:
        if counts.errors:
            error = (
                f"{counts.errors} of {counts.expected} requests failed; `overnight resume` asks them again"
            )
        elif counts.done < counts.expected:
            error = f"{counts.done} of {counts.expected} draws are done"
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
    update_manifest(folder, lambda m: m.model_copy(update={"state": state, "error": error}))
    folder.stop_request.unlink(missing_ok=True)


def seal_reports(folder: RunFolder) -> None:
    """Seal what is written after the trials have ended: comparisons, reports, figures."""

    def change(manifest: RunManifest) -> RunManifest:
        for slug, record in manifest.trials.items():
            if record.artifacts:
                late = [folder.trial(slug).significance, folder.trial(slug).report]
                sealed = dict(seal(folder.path, file) for file in late if file.is_file())
                manifest = manifest.with_trial(slug, artifacts={**record.artifacts, **sealed})
        files = [
            folder.plan,
            folder.effective_config,
            folder.aggregate_report,
            folder.html_report,
            folder.summary,
            folder.comparisons,
        ]
        files += sorted(folder.figures.glob("*.p*"))
        artifacts = dict(seal(folder.path, file) for file in files if file.is_file())
        return manifest.model_copy(update={"artifacts": artifacts})

    update_manifest(folder, change)


def begin_run(folder: RunFolder) -> None:
    """Say that a process works on the run."""
    update_manifest(folder, lambda m: m.model_copy(update={"state": TrialState.RUNNING, "error": None}))
