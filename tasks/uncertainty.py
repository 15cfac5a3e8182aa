"""What is said of the answers of an uncertainty sweep once all of them are there; no language model is held then."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from overnight.engines.gpu_lease import gpus_of
from overnight.engines.holding import connect, hold
from overnight.engines.sources import fetch
from overnight.planning.plan import Plan
from overnight.planning.uncertainty_trials import UncertaintyTrial
from overnight.runs.calculating import calculating, generating
from overnight.runs.judging import Judging, judging_of, write_judgements
from overnight.runs.opening import load_plan, load_uncertainty_sweep
from overnight.runs.relating import write_clusters, write_relevance
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.text_model import TextModelSpec
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec
from overnight.store.run_folder import RunFolder
from overnight.text_models.holding import Holding, hold_entailment, hold_similarity
from overnight.uncertainty.judge_requests import judge_name
from tasks.gpus import gpus_taken

# NO_CACHE throughout: what was asked before is known to the caches of the models and to the files of the trials.

_JUDGE_CONTEXT_TOKENS = 2048


@task(name="relate-tokens", cache_policy=NO_CACHE, persist_result=False)
def relate_tokens(run_dir: Path, slugs: Sequence[str]) -> None:
    """Have a text model say how relevant each token is, in all trials on one load of it."""
    folder, spec, plan = _loaded(run_dir)
    model = spec.experiment.relevance
    if not isinstance(model, TextModelSpec):
        return
    with calculating(spec.execution), hold_similarity(model, _holding(folder, spec)) as similarity:
        for trial in _trials(plan, slugs):
            n_items = write_relevance(folder.trial(trial.slug), plan, trial, similarity)
            get_run_logger().info("%s: relevance of the tokens of %d answers", trial.slug, n_items)


@task(name="cluster-samples", cache_policy=NO_CACHE, persist_result=False)
def cluster_samples(run_dir: Path, slugs: Sequence[str]) -> None:
    """Have a text model say which samples mean the same, in all trials on one load of it."""
    folder, spec, plan = _loaded(run_dir)
    model = spec.experiment.entailment
    if not isinstance(model, TextModelSpec) or not spec.experiment.sampling.samples_per_item:
        return
    with calculating(spec.execution), hold_entailment(model, _holding(folder, spec)) as entailment:
        for trial in _trials(plan, slugs):
            write_clusters(folder.trial(trial.slug), plan, trial, entailment)


@task(name="judge-answers", cache_policy=NO_CACHE, persist_result=False)
def judge_answers(run_dir: Path, slugs: Sequence[str]) -> None:
    """Have a model say whether the greedy answers are right, in all trials on one load of it."""
    folder, spec, plan = _loaded(run_dir)
    model = spec.experiment.judge
    if not isinstance(model, ModelSpec) or "judge" not in spec.experiment.labels:
        return
    name = judge_name(model.name, model.weights_identity)
    judging = {
        trial.slug: judging_of(folder.trial(trial.slug), plan, trial, name) for trial in _trials(plan, slugs)
    }
    if not any(each.new for each in judging.values()):
        return
    with _held(folder, spec, model), generating(model.engine):
        for slug, each in judging.items():
            n_items = asyncio.run(_judge(folder, spec, slug, each, model, name))
            get_run_logger().info("%s: %d of %d answers were judged", slug, n_items, len(each.asked))


@task(name="measure-uncertainty", task_run_name="measure {slug}", cache_policy=NO_CACHE, persist_result=False)
def measure(run_dir: Path, slug: str) -> int:
    """Write the measures and the labels of one trial."""
    from overnight.runs.uncertainty_measuring import write_measures  # noqa: PLC0415 - SciPy, at the end only

    folder, spec, plan = _loaded(run_dir)
    (trial,) = _trials(plan, [slug])
    with calculating(spec.execution):
        return write_measures(folder.trial(slug), plan, trial, spec.experiment)


@task(name="analyse-uncertainty", cache_policy=NO_CACHE, persist_result=False)
def analyse_run(run_dir: Path) -> None:
    """Say of the whole run how well the measures tell right answers from wrong ones."""
    from overnight.report.uncertainty.files import write_files_again  # noqa: PLC0415 - at the end only

    folder = RunFolder(run_dir)
    with calculating(load_uncertainty_sweep(folder).execution):
        if not write_files_again(folder):
            get_run_logger().warning("no trial was measured: there is nothing to analyse")


async def _judge(
    folder: RunFolder, spec: UncertaintySweepSpec, slug: str, judging: Judging, model: ModelSpec, name: str
) -> int:
    engine = connect(model, spec.execution, folder.engines)
    try:
        return await write_judgements(
            folder.trial(slug),
            judging,
            engine,
            judge=name,
            seed=spec.experiment.sampling.seed,
            at_once=spec.execution.requests_at_once(model.engine),
        )
    finally:
        await engine.close()


@contextlib.contextmanager
def _held(folder: RunFolder, spec: UncertaintySweepSpec, model: ModelSpec) -> Iterator[None]:
    if model.engine is EngineKind.DRY_RUN:
        yield
        return
    path = fetch(model).path if model.engine.has_weights_here else None
    context_tokens = min(_JUDGE_CONTEXT_TOKENS, model.context_tokens)
    with (
        gpus_taken(gpus_of(model, spec.execution.engine), folder, spec.execution),
        hold(model, path, context_tokens, spec.execution, folder.engines) as holder,
    ):
        holder.start()
        yield


def _holding(folder: RunFolder, spec: UncertaintySweepSpec) -> Holding:
    settings = spec.execution.engine
    return Holding(
        folder=folder.engines, threads=settings.threads, startup_timeout_s=settings.startup_timeout_s
    )


def _loaded(run_dir: Path) -> tuple[RunFolder, UncertaintySweepSpec, Plan]:
    folder = RunFolder(run_dir)
    spec = load_uncertainty_sweep(folder)
    return folder, spec, load_plan(folder, spec)


def _trials(plan: Plan, slugs: Sequence[str]) -> list[UncertaintyTrial]:
    return [trial for trial in plan.trials if isinstance(trial, UncertaintyTrial) and trial.slug in slugs]
