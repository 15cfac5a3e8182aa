"""Running a sweep from the terminal: the flow in this process, a display beside it, signals turned into stops."""

from pathlib import Path

from rich.console import Console

from overnight.cli.console import console as make_console
from overnight.cli.display import shown
from overnight.cli.launching import begin_api, call_flow, logged
from overnight.cli.planning import print_plan
from overnight.cli.stopping import stop_on_signals
from overnight.cli.sweep_options import LoadedSweep
from overnight.errors import StopRequested, TrialsFailed, UsageError
from overnight.ids import new_run_id
from overnight.planning.trials import experiment_fingerprint
from overnight.runs.deadline import DEADLINE
from overnight.runs.opening import (
    check_same_experiment,
    create_run,
    find_same_experiment,
    load_plan,
    load_spec,
    override_rows,
)
from overnight.runs.predicting import predict_run
from overnight.spec.overrides import Overrides
from overnight.spec.run_options import RunOptions
from overnight.spec.steps import Step, StepRange
from overnight.spec.sweep import SweepSpec, validate_sweep
from overnight.store.manifest import TrialState, read_manifest
from overnight.store.run_folder import RunFolder, find_run, run_path
from overnight.store.run_lock import is_locked

_NEWEST = "newest"


def run_sweep(
    sweep: LoadedSweep,
    *,
    run_id: str | None,
    resume: str | None,
    experiments_dir: Path,
    steps: StepRange,
    skip_prepare: bool,
    skip_build: bool,
    plan_only: bool,
) -> None:
    """Run a sweep, new or going on, and leave with what came of it.

    Raises:
        UsageError: it cannot be started; nothing was loaded or written.
        TrialsFailed: some trials failed.
        StopRequested: it was stopped.
    """
    console = make_console()
    for override in sweep.overrides:
        console.print(override.sentence(), highlight=False, markup=False)
    if sweep.kept:
        kept = ", ".join(sweep.kept)
        console.print(f"not of the preset, since the config says them: {kept}", highlight=False, markup=False)
    if resume is not None:
        if run_id is not None:
            raise UsageError("--run-id names a new run, --resume an old one; give one of them")
        folder = (
            find_same_experiment(experiments_dir, experiment_fingerprint(sweep.spec))
            if resume == _NEWEST
            else find_run(experiments_dir, resume)
        )
        _require_free(folder)
        check_same_experiment(folder, read_manifest(folder), sweep.spec)
    else:
        if skip_prepare or skip_build or not steps.has(Step.PREPARE):
            raise UsageError(
                "only a run that goes on can leave out its first steps; name it with --resume RUN"
            )
        folder = RunFolder(run_path(experiments_dir, run_id or new_run_id()))
    options = RunOptions(
        run_id=folder.run_id,
        resume=resume is not None,
        experiments_dir=folder.path.parent,
        config_dir=sweep.config_dir,
        steps=steps,
        skip_prepare=skip_prepare,
        skip_build=skip_build,
        overrides=sweep.override_rows,
    )
    if not options.resume:
        # Before Prefect is there: what is wrong with the items, the disk or the name is said at once.
        create_run(sweep.spec, options)
        options = options.model_copy(update={"resume": True})
    spec = sweep.spec
    plan = load_plan(folder, spec)
    print_plan(console, plan, predict_run(plan, spec.execution))
    if plan_only:
        console.print(f"planned in {folder.path}; run it with `overnight resume {folder.run_id}`")
        return
    _carry_out(console, folder, spec, options)


def resume_run(
    run: str,
    *,
    experiments_dir: Path,
    steps: StepRange,
    max_concurrent_jobs: int | None,
    deadline: str | None,
    no_cache: bool,
    assignments: list[str] | None,
) -> None:
    """Go on with a run as it was configured, apart from what is said here about its execution.

    Raises:
        As ``run_sweep``.
    """
    console = make_console()
    folder = find_run(experiments_dir, run)
    _require_free(folder)
    spec = load_spec(folder)
    overrides = Overrides(spec.model_dump(mode="json"))
    if max_concurrent_jobs is not None:
        overrides.set("execution.max_concurrent_requests", max_concurrent_jobs, "--max-concurrent-jobs")
    if deadline is not None:
        overrides.set("execution.deadline", None if deadline == "none" else deadline, "--deadline")
    if no_cache:
        overrides.set("execution.request_cache", False, "--no-cache")
    for assignment in assignments or []:
        overrides.set_text(assignment)
    spec = validate_sweep(overrides.value, folder.effective_config)
    check_same_experiment(folder, read_manifest(folder), spec)
    options = RunOptions(
        run_id=folder.run_id,
        resume=True,
        experiments_dir=folder.path.parent,
        steps=steps,
        overrides=override_rows(overrides.made),
    )
    _carry_out(console, folder, spec, options)


def _carry_out(console: Console, folder: RunFolder, spec: SweepSpec, options: RunOptions) -> None:
    begin_api()
    with stop_on_signals(folder), logged(folder), shown(console, folder):
        state = call_flow(spec.kind, {"sweep": spec, "run": options})
    manifest = read_manifest(folder)
    if state.is_cancelled() and state.name != DEADLINE:
        raise StopRequested(f"stopped; go on with `overnight resume {folder.run_id}`")
    console.print(f"run      {folder.path}")
    if folder.aggregate_report.is_file():
        console.print(f"report   {folder.aggregate_report}")
        console.print(f"         {folder.html_report}")
    if state.is_cancelled():
        raise StopRequested(str(state.message))
    if not state.is_completed():
        failed = {slug: t.error for slug, t in manifest.trials.items() if t.state is TrialState.FAILED}
        for slug, error in failed.items():
            console.print(f"failed   {slug}: {error}", highlight=False, markup=False)
        raise TrialsFailed(
            f"{len(failed)} of {len(manifest.trials)} trials failed; mend the cause, then "
            f"`overnight resume {folder.run_id}`"
            if failed
            else str(state.message)
        )


def _require_free(folder: RunFolder) -> None:
    if is_locked(folder):
        raise UsageError(
            f"run {folder.run_id} is being worked on by another process; "
            f"wait for it, or end it with `overnight stop {folder.run_id}`"
        )
