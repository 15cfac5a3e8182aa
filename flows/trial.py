"""One trial: its requests, its draws, its tables. A subflow of its run, or a run of its own on a cluster."""

from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed, Failed

from overnight.errors import StopRequested
from overnight.runs.deadline import what_was_left
from overnight.runs.ending import CANCELLED, cut_trial, settle_trial
from overnight.runs.generating import count_draws
from overnight.runs.trials import begin_trial, end_trial, is_finished
from overnight.spec.model import EngineKind
from overnight.spec.steps import Step, StepRange
from overnight.store.manifest import TrialState
from tasks.captures import extract_vectors, write_projections
from tasks.ladder import n_rungs_below
from tasks.trial_work import TrialWork
from tasks.trials import audit, build, generate_draws, parse, score, sum_costs


# No retries and no persisted result: a trial goes on from its journal, draw by draw.
@flow(name="trial", persist_result=False)
def trial(
    run_dir: Path, slug: str, steps: StepRange, *, skip_build: bool = False, is_asked: bool = False
) -> State[str]:
    """Run the steps of one trial; the engine of its model block serves already.

    Args:
        run_dir: the run's folder.
        slug: the trial's folder in it.
        steps: which steps are wanted.
        skip_build: take the requests that were built before.
        is_asked: the draws were asked for already, as far as a deadline let them; no engine is needed.
    """
    work = TrialWork(run_dir, slug)
    if steps.asks and is_finished(work.folder, work.plan, slug):
        return Completed(name="Reused", message="finished before, its files are what they were", data=slug)
    begin_trial(work.folder, slug)
    try:
        if not is_asked:
            _ask(work, steps, skip_build=skip_build)
        _audit(work, steps, is_asked=is_asked)
        is_cut = is_asked or _was_cut(work, steps)
        if is_cut:
            work.keep_answered()
        _make_tables(work, steps)
    except StopRequested as stop:
        _end(work, TrialState.STOPPED, str(stop))
        return Cancelled(message=str(stop))
    except TerminationSignal:
        _end(work, TrialState.STOPPED, CANCELLED)
        raise
    except BaseException as error:
        _end(work, TrialState.FAILED, str(error) or type(error).__name__)
        raise
    counts = count_draws(work.folder, work.plan, work.trial)
    if is_cut and (left := what_was_left(work.plan, work.trial, work.tabled, counts)):
        cut_trial(work.folder, slug, counts, work.tabled, left)
        return Completed(name="Cut", message=left, data=slug)
    problem = settle_trial(work.folder, slug, counts, steps, captures=work.trial.captures)
    return Failed(message=problem) if problem else Completed(data=slug)


def _ask(work: TrialWork, steps: StepRange, *, skip_build: bool) -> None:
    if steps.has(Step.BUILD) and not skip_build:
        build(work)
    if steps.asks:
        # A retry is a step down: there are as many as there are rungs.
        if work.trial.captures:
            extract_vectors.with_options(retries=n_rungs_below(work.folder, work.planned_block))(work)
        generate_draws.with_options(retries=n_rungs_below(work.folder, work.planned_block))(work)


def _audit(work: TrialWork, steps: StepRange, *, is_asked: bool) -> None:
    is_made_up = work.block.held.model.engine is EngineKind.DRY_RUN
    if steps.asks and work.spec.execution.audit.share and not is_made_up:
        audit(work, "the draws were asked against a deadline" if is_asked else None)


def _was_cut(work: TrialWork, steps: StepRange) -> bool:
    """True where tables are made again of a run that had a deadline: of what is there, and without a model."""
    makes_tables = steps.has(Step.PARSE, Step.SCORE, Step.COSTS)
    return work.spec.execution.deadline is not None and makes_tables and not steps.asks


def _make_tables(work: TrialWork, steps: StepRange) -> None:
    if steps.has(Step.PARSE):
        parse(work)
    if steps.has(Step.SCORE):
        write_projections(work) if work.trial.captures else score(work)
    if steps.has(Step.COSTS):
        sum_costs(work)


def _end(work: TrialWork, state: TrialState, error: str) -> None:
    counts = count_draws(work.folder, work.plan, work.trial)
    end_trial(work.folder, work.trial.slug, state=state, counts=counts, error=error)
