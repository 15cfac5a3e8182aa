"""The steps of one trial as tasks: each a unit that somebody may want to look at, or do again."""

import asyncio
import contextlib
from datetime import datetime
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from overnight.engines.holding import connect, host_settings
from overnight.engines.host import HostSettings
from overnight.engines.protocol import Engine
from overnight.invariance.record import AuditRecord
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trait_trials import TraitTrial
from overnight.planning.trial import Trial
from overnight.runs.auditing import Audit
from overnight.runs.building import build_requests
from overnight.runs.calculating import calculating, generating
from overnight.runs.costing import write_costs
from overnight.runs.deadline import generate_in_rounds
from overnight.runs.generating import Generated, generate, write_part_states
from overnight.runs.measuring import begin_stretch, note_rate
from overnight.runs.opening import load_plan, load_spec
from overnight.runs.parsing import write_predictions
from overnight.runs.reusing import reuse_of_siblings
from overnight.runs.sampling import Watch, watched
from overnight.runs.scoring import write_scores
from overnight.runs.stepping import begin_on_rung, on_its_rung
from overnight.runs.together import models_beside
from overnight.runs.trials import begin_trial, note_generated, note_interrupted
from overnight.spec.execution import Execution
from overnight.spec.prompt_sweep import PromptSweepSpec, ScoringSpec, UnsupportedSpec
from overnight.spec.sweep import SweepSpec
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder
from overnight.telemetry.energy import EnergyMeter
from tasks.captures import capture_trial
from tasks.ladder import is_out_of_memory, memory_watched, step_down_after_failure
from tasks.progress import progress_artifact
from tasks.trial_work import TrialWork
from tasks.verbalising import draw_in_turns, draw_trial

# NO_CACHE throughout: a trial is resumed from its own folder, whose journal knows every draw. A draw is retried where
# it failed, inside the dispatch, and an engine that died is restarted there; a task is retried only where memory ran
# out, once for each rung that is left.


@task(name="build-requests", cache_policy=NO_CACHE, persist_result=False)
def build(work: TrialWork) -> int:
    """Write down exactly what is going to be asked."""
    return build_requests(work.folder, work.plan, work.trial)


@task(
    name="generate",
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_delay_seconds=0,
    retry_condition_fn=is_out_of_memory,
)
def generate_draws(work: TrialWork) -> "int | State[int]":
    """Ask for every draw that is not done yet; return how many requests were sent. On a retry, one rung lower."""
    has_stepped = step_down_after_failure(work.folder, work.planned_block)
    block = work.block
    begin_on_rung(work.folder, work.plan, block, work.trial)
    with (
        generating(block.held.model.engine),
        memory_watched(work.folder, work.planned_block),
        watched(work.folder, block, work.trial),
    ):
        if work.trial.captures:
            reuse_of_siblings(work.folder, work.plan, block, work.trial)
        n_sent = asyncio.run(_generate(work, block))
        if isinstance(work.trial, TraitTrial):
            capture_trial(work.folder, work.spec, work.plan, block, work.trial)
    if has_stepped:
        return Completed(name="SteppedDown", message=f"answered on {block.held.label}", data=n_sent)
    return n_sent


async def _generate(work: TrialWork, block: ModelBlock) -> int:
    execution = work.spec.execution
    slug = work.trial.slug
    stretch = begin_stretch(work.folder, slug, models_beside(work.folder, slug))
    try:
        async with progress_artifact(slug):
            if isinstance(work.trial, BestOfKTrial):
                generated = await draw_trial(work.folder, work.spec, work.plan, block, work.trial)
            else:
                engine = connect(block.held.model, execution, work.folder.engines)
                generated = await generate(work.folder, work.plan, block, work.trial, engine, execution)
    except BaseException:
        with contextlib.suppress(OSError):  # a full disk has its own error, which is on its way
            note_interrupted(work.folder, slug, *stretch.so_far())
        raise
    note_generated(work.folder, block, slug, generated, stretch.so_far()[1])
    if not isinstance(work.trial, BestOfKTrial):
        settings = _settings(block, execution)
        note_rate(work.folder, work.plan, block, work.trial, stretch, settings, generated.inference_s)
    return generated.n_sent


@task(name="audit", cache_policy=NO_CACHE, persist_result=False)
def audit(work: TrialWork, skipped_because: str | None = None) -> State[int]:
    """Ask some draws again, alone, and say how many of the answers differ; it can fail no trial.

    Args:
        work: the trial; its draws were generated.
        skipped_because: why nothing can be asked.
    """
    execution, block = work.spec.execution, work.block
    confidence = work.spec.experiment.statistics.confidence
    audit = Audit(
        folder=work.folder,
        plan=work.plan,
        block=block,
        trial=work.trial,
        settings=execution.audit,
        confidence=confidence,
    )
    try:
        if skipped_because:
            record = audit.skip(skipped_because)
        else:
            with generating(block.held.model.engine):
                record = asyncio.run(
                    _audit(audit, connect(block.held.model, execution, work.folder.engines), work.folder)
                )
    except Exception as error:  # noqa: BLE001 - an audit can fail no trial
        get_run_logger().warning("%s: the audit could not be written down: %s", work.trial.slug, error)
        return Completed(name="NotWritten", message=str(error))
    found = record.all
    message = f"{found.n_different} of {found.n} answers differ when they are asked for alone"
    return Completed(
        name="Completed" if record.state == "complete" else record.state.capitalize(),
        message=f"{message}; {record.why}" if record.why else message,
        data=found.n_different,
    )


async def _audit(audit: Audit, engine: Engine, folder: RunFolder) -> AuditRecord:
    try:
        return await audit.carry_out(engine, folder.stop_request.exists)
    finally:
        await engine.close()


@task(
    name="ask-in-rounds",
    task_run_name="ask {model}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_delay_seconds=0,
    retry_condition_fn=is_out_of_memory,
)
def ask_in_rounds(run_dir: Path, model: str, until: datetime, *, skip_build: bool) -> None:
    """Ask all trials of a model, a slice of each in turn, until there is no time left; on a retry, one rung lower."""
    folder = RunFolder(run_dir)
    spec = load_spec(folder)
    plan = load_plan(folder, spec)
    planned = next(b for b in plan.blocks if b.model.name == model)
    for trial in planned.trials:
        begin_trial(folder, trial.slug)
        if not skip_build and not isinstance(trial, BestOfKTrial):
            build_requests(folder, plan, trial)
    step_down_after_failure(folder, planned)
    block = on_its_rung(folder, planned)
    for trial in block.trials:
        begin_on_rung(folder, plan, block, trial)
    with generating(block.held.model.engine), memory_watched(folder, planned):
        _ask_in_rounds(folder, spec, plan, block, until)


def _ask_in_rounds(
    folder: RunFolder, spec: SweepSpec, plan: Plan, block: ModelBlock, until: datetime
) -> None:
    is_of_vectors = any(isinstance(trial, BestOfKTrial) for trial in block.trials)
    meter = EnergyMeter()
    watch = Watch(folder, block)
    stretches = {trial.slug: begin_stretch(folder, trial.slug) for trial in block.trials}
    inference_s = dict.fromkeys(stretches, 0.0)

    def note(trial: Trial, generated: Generated) -> None:
        inference_s[trial.slug] += generated.inference_s
        note_generated(folder, block, trial.slug, generated, meter.since_last())
        watch.was_of(trial)

    try:
        if is_of_vectors:
            asyncio.run(draw_in_turns(folder, spec, plan, block, until=until, on_turn=note))
        else:
            engine = connect(block.held.model, spec.execution, folder.engines)
            asyncio.run(
                generate_in_rounds(folder, plan, block, engine, spec.execution, until=until, on_slice=note)
            )
    finally:
        if not is_of_vectors:
            for trial in block.trials:
                write_part_states(folder, plan, trial)
        watch.end()
    if is_of_vectors:
        return
    for trial in block.trials:
        if isinstance(trial, TraitTrial):  # a pass a prompt, which the time of the reports has room for
            capture_trial(folder, spec, plan, block, trial)
    settings = _settings(block, spec.execution)
    for trial in block.trials:
        note_rate(folder, plan, block, trial, stretches[trial.slug], settings, inference_s[trial.slug])


def _settings(block: ModelBlock, execution: Execution) -> HostSettings:
    rung = block.held
    return host_settings(rung.model, Path(), rung.context_tokens, rung.carried_out(execution))


@task(name="parse", cache_policy=NO_CACHE, persist_result=False)
def parse(work: TrialWork) -> int:
    """Read the predictions out of the journal."""
    with calculating(work.spec.execution):
        return write_predictions(work.folder.trial(work.trial.slug), work.tabled, work.trial)


@task(name="score", cache_policy=NO_CACHE, persist_result=False)
def score(work: TrialWork) -> int:
    """Compare the predictions with the gold answers."""
    spec = work.spec
    unsupported, scoring = (
        (spec.experiment.unsupported, spec.experiment.scoring)
        if isinstance(spec, PromptSweepSpec)
        else (UnsupportedSpec(), ScoringSpec(rouge_l=True))
    )
    folder = work.folder.trial(work.trial.slug)
    with calculating(spec.execution):
        return write_scores(folder, work.tabled, work.trial, unsupported, scoring)


@task(name="costs", cache_policy=NO_CACHE, persist_result=False)
def sum_costs(work: TrialWork) -> None:
    """Add up tokens, seconds and joules."""
    record = read_manifest(work.folder).trials[work.trial.slug]
    write_costs(
        work.folder.trial(work.trial.slug),
        work.spec.execution.pricing,
        record.timings.inference_s,
        model=str((record.effective or record.requested)["model"]),
        energy=record.energy,
    )
