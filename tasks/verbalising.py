"""Vectors of texts, said in words: read once for all trials of a model and a layer, then drawn and encoded."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from overnight.engines.holding import connect_all
from overnight.engines.transformers.client import TransformersEngine
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.plan import ModelBlock, Plan
from overnight.runs.calculating import calculating, generating
from overnight.runs.expected import note_vectors, vectors_folder
from overnight.runs.generating import Generated
from overnight.runs.lens_sources import lens_folder
from overnight.runs.vector_sets import VectorSet, vectors_of
from overnight.runs.verbalising import VerbalisingWork, verbalise, verbalise_in_turns
from overnight.runs.verbalising_costs import write_verbalising_costs
from overnight.spec.best_of_k import BestOfKExperiment, BestOfKSpec
from overnight.spec.sweep import SweepSpec
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder
from overnight.vectors.states import Mode
from overnight.vectors.vector_set import MARKER
from tasks.ladder import is_out_of_memory, memory_watched, step_down_after_failure
from tasks.trial_work import TrialWork

# NO_CACHE throughout: Prefect's cache knows nothing of files that have gone or changed; the store of states does, and
# the state's name says `Cached`.


@task(
    name="extract-vectors",
    task_run_name="extract-vectors {work.planned_block.model.name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_delay_seconds=0,
    retry_condition_fn=is_out_of_memory,
)
def read_vectors(work: TrialWork) -> "State[Path]":
    """Read the vectors of a model and a layer, or find them read; on a retry, one rung lower."""
    step_down_after_failure(work.folder, work.planned_block)
    block, trial = work.block, trial_of(work)
    was_there = (vectors_folder(work.folder, block, trial) / MARKER).is_file()  # for another trial of the run
    with memory_watched(work.folder, work.planned_block), generating(block.held.model.engine):
        vectors = asyncio.run(_read(work.folder, work.spec, work.plan, block, trial))
    is_found = was_there or vectors.was_cached
    n_read = 0 if is_found else vectors.n_read
    said = f"{len(vectors)} vectors of layer {trial.layer} {'found' if is_found else 'read'}, {n_read} states read"
    return Completed(
        name="Cached" if is_found else "Completed",
        message=said,
        data=vectors_folder(work.folder, block, trial),
    )


async def draw_trial(
    folder: RunFolder, spec: SweepSpec, plan: Plan, block: ModelBlock, trial: BestOfKTrial
) -> Generated:
    """Draw and encode what is left of a trial; the model of its block serves."""
    async with _engines(folder, spec, block) as engines:
        vectors = await _vectors(folder, spec, plan, block, trial, engines)
        generated = await verbalise(_work(folder, spec, plan, block, trial, vectors), engines)
    counts = generated.counts
    get_run_logger().info(
        "%s: %d of %d draws of %d vectors, %d of them in %.1f s",
        trial.slug,
        counts.done,
        counts.expected,
        counts.expected // trial.n_draws,
        generated.n_sent,
        generated.inference_s,
    )
    return generated


async def draw_in_turns(
    folder: RunFolder,
    spec: SweepSpec,
    plan: Plan,
    block: ModelBlock,
    *,
    until: datetime,
    on_turn: Callable[[BestOfKTrial, Generated], None],
) -> None:
    """Draw of all trials of a block in turn, as long as there is time."""
    trials = [trial for trial in block.trials if isinstance(trial, BestOfKTrial)]
    async with _engines(folder, spec, block) as engines:
        works = []
        for trial in trials:
            vectors = await _vectors(folder, spec, plan, block, trial, engines)
            works.append(_work(folder, spec, plan, block, trial, vectors))
        await verbalise_in_turns(works, engines, until=until, on_turn=on_turn)


@task(name="score", cache_policy=NO_CACHE, persist_result=False)
def score_draws(work: TrialWork) -> int:
    """Say what the best of K texts recovers; return the number of vectors that it is said of."""
    from overnight.runs.recovering import write_recovery  # noqa: PLC0415 - SciPy, at the end only

    trial = trial_of(work)
    with calculating(work.spec.execution):
        results = write_recovery(
            work.folder,
            trial.slug,
            VectorSet.read(vectors_folder(work.folder, work.block, trial)),
            _experiment(work.spec),
            trial.requested(),
            should_stop=work.folder.stop_request.exists,
        )
    return results.vectors.n_measured


@task(name="costs", cache_policy=NO_CACHE, persist_result=False)
def sum_verbalising_costs(work: TrialWork) -> None:
    """Add up tokens, seconds and joules."""
    record = read_manifest(work.folder).trials[work.trial.slug]
    write_verbalising_costs(
        work.folder,
        trial_of(work),
        work.spec.execution.pricing,
        record.timings.inference_s,
        energy=record.energy,
    )


def trial_of(work: TrialWork) -> BestOfKTrial:
    """Return the trial of some work, which says vectors in words."""
    if not isinstance(work.trial, BestOfKTrial):
        raise TypeError(f"{work.trial.slug} says no vectors in words")
    return work.trial


@contextlib.asynccontextmanager
async def _engines(
    folder: RunFolder, spec: SweepSpec, block: ModelBlock
) -> AsyncIterator[tuple[TransformersEngine, ...]]:
    engines = connect_all(block.held.model, spec.execution, folder.engines)
    try:
        yield engines
    finally:
        for engine in engines:
            await engine.close()


async def _read(
    folder: RunFolder, spec: SweepSpec, plan: Plan, block: ModelBlock, trial: BestOfKTrial
) -> VectorSet:
    async with _engines(folder, spec, block) as engines:
        return await _vectors(folder, spec, plan, block, trial, engines)


async def _vectors(
    folder: RunFolder,
    spec: SweepSpec,
    plan: Plan,
    block: ModelBlock,
    trial: BestOfKTrial,
    engines: Sequence[TransformersEngine],
) -> VectorSet:
    """Return the vectors of a trial's model and layer, of all datasets, and note which are the trial's."""
    experiment = _experiment(spec)
    path = vectors_folder(folder, block, trial)
    vectors = await vectors_of(
        path,
        plan.items,
        block.held.model,
        trial.layer,
        experiment.positions,
        experiment.max_vectors,
        experiment.kept,
        engines,
        Mode(spec.execution.vectors),
        folder.stop_request.exists,
        spec.execution.lens.vector_extraction_batch_size,
    )
    note_vectors(
        folder,
        trial,
        path.relative_to(folder.path).as_posix(),
        sum(vector.dataset == trial.dataset for vector in vectors.vectors),
        sum(each["dataset"] == trial.dataset for each in vectors.left_out),
    )
    return vectors


def _work(
    folder: RunFolder,
    spec: SweepSpec,
    plan: Plan,
    block: ModelBlock,
    trial: BestOfKTrial,
    vectors: VectorSet,
) -> VerbalisingWork:
    return VerbalisingWork(
        folder=folder,
        plan=plan,
        block=block,
        trial=trial,
        lens=lens_folder(trial.lens, block.held.model),
        vectors=vectors,
        execution=spec.execution,
    )


def _experiment(spec: SweepSpec) -> BestOfKExperiment:
    if not isinstance(spec, BestOfKSpec):
        raise TypeError(f"a {spec.kind} says no vectors in words")
    return spec.experiment
