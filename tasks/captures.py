"""What a model holds while it reads: trait vectors, made once for the same texts, and the states of prompts."""

import asyncio
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from overnight.engines.dispatch import DispatchPolicy
from overnight.engines.holding import connect
from overnight.engines.transformers.client import TransformersEngine
from overnight.ids import digest
from overnight.planning.identity import weights_identity
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trait_trials import TraitTrial
from overnight.runs.calculating import calculating, generating
from overnight.runs.captured import note_passes
from overnight.runs.capturing import Captured, CaptureWork, capture
from overnight.runs.instructed_replies import Asking
from overnight.runs.trait_vectors import TraitVectors, trait_vectors
from overnight.spec.sweep import SweepSpec
from overnight.spec.trait_capture import TraitCaptureExperiment, TraitCaptureSpec
from overnight.store.content_store import cache_folder
from overnight.store.run_folder import RunFolder
from overnight.vectors.states import Mode
from tasks.ladder import is_out_of_memory, memory_watched, step_down_after_failure
from tasks.trial_work import TrialWork

# Relative, for a model in half precision: kernels for other numbers of rows round otherwise. In float32 it is 1e-5.
_LARGEST_PROBE_DIFFERENCE = 2e-2

# NO_CACHE throughout: Prefect's cache knows nothing of files that have gone or changed; the stores of states and of
# vectors do, and the state's name says `Cached`.


@task(
    name="extract-vectors",
    task_run_name="extract-vectors {work.planned_block.model.name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_delay_seconds=0,
    retry_condition_fn=is_out_of_memory,
)
def extract_vectors(work: TrialWork) -> "State[Path]":
    """Make the trait vectors of a model, or find them made; on a retry, one rung lower."""
    step_down_after_failure(work.folder, work.planned_block)
    with memory_watched(work.folder, work.planned_block):
        vectors = asyncio.run(_vectors(work.folder, work.spec, work.block))
    return Completed(
        name="Cached" if vectors.was_cached else "Completed",
        message=f"vectors of {len(vectors.traits)} traits {'found' if vectors.was_cached else 'made'}, "
        f"{vectors.n_read} texts read",
        data=vectors.directions,
    )


def capture_trial(
    folder: RunFolder, spec: SweepSpec, plan: Plan, block: ModelBlock, trial: TraitTrial
) -> Captured:
    """Read the prompts of a trial with their replies; the model of its block serves."""
    return asyncio.run(_capture(folder, spec, plan, block, trial))


@task(name="project", cache_policy=NO_CACHE, persist_result=False)
def write_projections(work: TrialWork) -> int:
    """Make the tables of a trial from what was read of its prompts; return the rows of projections."""
    from overnight.runs.capture_tables import write_capture_tables  # noqa: PLC0415 - pyarrow, at the end only

    with calculating(work.spec.execution):
        return write_capture_tables(work.folder, work.tabled, work.trial)


async def _vectors(folder: RunFolder, spec: SweepSpec, block: ModelBlock) -> TraitVectors:
    engine = _engine(folder, spec, block)
    try:
        with generating(block.held.model.engine):
            return await _made(folder, spec, block, engine)
    finally:
        await engine.close()


async def _made(
    folder: RunFolder, spec: SweepSpec, block: ModelBlock, engine: TransformersEngine
) -> TraitVectors:
    model = block.held.model
    identity = digest(weights_identity(model))
    asking = Asking(
        engine=engine,
        model_digest=identity,
        policy=DispatchPolicy(
            concurrency=block.held.slots,
            attempts_per_item=spec.execution.attempts_per_item,
            max_engine_restarts=spec.execution.max_engine_restarts,
        ),
        folder=cache_folder() / "trait_replies" / identity[:32],
        should_stop=folder.stop_request.exists,
    )
    return await trait_vectors(
        folder.vectors(model.name), model, _experiment(spec), engine, asking, Mode(spec.execution.vectors)
    )


async def _capture(
    folder: RunFolder,
    spec: SweepSpec,
    plan: Plan,
    block: ModelBlock,
    trial: TraitTrial,
) -> Captured:
    engine = _engine(folder, spec, block)
    experiment = _experiment(spec)
    try:
        vectors = await _made(folder, spec, block, engine)
        work = CaptureWork(
            folder=folder, plan=plan, block=block, trial=trial, experiment=experiment, vectors=vectors
        )
        captured = await capture(work, engine)
    finally:
        await engine.close()
    probe = captured.largest_probe_difference
    note_passes(folder.trial(trial.slug), captured.n_passed, captured.seconds, probe)
    if probe is not None and probe > _LARGEST_PROBE_DIFFERENCE:
        get_run_logger().warning(
            "%s: a sequence in a batch differs from the same one alone by %.1e of the largest value; "
            "execution.engine.batch_invariant: true reads them one at a time",
            trial.slug,
            probe,
        )
    get_run_logger().info(
        "%s: %d of %d prompts captured, %d passes in %.1f s",
        trial.slug,
        captured.n_captured,
        captured.n_captured + captured.n_left,
        captured.n_passed,
        captured.seconds,
    )
    return captured


def _engine(folder: RunFolder, spec: SweepSpec, block: ModelBlock) -> TransformersEngine:
    engine = connect(block.held.model, spec.execution, folder.engines)
    if not isinstance(engine, TransformersEngine):
        raise TypeError(f"{block.held.model.name} shows no activations; planning should have refused it")
    return engine


def _experiment(spec: SweepSpec) -> TraitCaptureExperiment:
    if not isinstance(spec, TraitCaptureSpec):
        raise TypeError(f"a {spec.kind} captures nothing")
    return spec.experiment
