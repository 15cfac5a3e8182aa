"""The steps of one trial over made-up items, one a process, in the order in which a run takes them."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml
from scaling_worker import Stage, measure

from overnight.datasets.freezing import prepare_items
from overnight.engines.holding import connect
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trial import Trial
from overnight.report.writing import write_reports
from overnight.runs.building import build_requests
from overnight.runs.comparing import compare_trial, write_significance
from overnight.runs.costing import write_costs
from overnight.runs.ending import settle_trial
from overnight.runs.generating import count_draws, generate
from overnight.runs.opening import create_run, load_plan, load_spec
from overnight.runs.parsing import write_predictions
from overnight.runs.resolving import resolve
from overnight.runs.scoring import write_scores
from overnight.runs.trials import begin_trial, note_generated
from overnight.spec.config_root import ConfigRoot
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.run_options import RunOptions
from overnight.spec.steps import StepRange
from overnight.spec.sweep import SweepSpec
from overnight.store.run_folder import RunFolder


class Work:
    """The one trial of a run that was made."""

    def __init__(self, sweep: Path) -> None:
        self.folder = RunFolder(sweep.parents[1] / "experiments" / "run_scaling")
        self.spec: SweepSpec = load_spec(self.folder)
        self.plan: Plan = load_plan(self.folder, self.spec)
        self.block: ModelBlock = self.plan.blocks[0]
        self.trial: Trial = self.block.trials[0]
        self.own = self.folder.trial(self.trial.slug)


def _spec(sweep: Path) -> PromptSweepSpec:
    value = yaml.safe_load(sweep.read_text(encoding="utf-8"))
    value["execution"]["request_cache"] = False
    return resolve(PromptSweepSpec.model_validate(value), ConfigRoot.of_sweep(sweep))


def prepare(_: int, sweep: Path) -> Callable[[], None]:
    spec = _spec(sweep)

    def work() -> None:
        prepare_items(spec.experiment)

    return work


def make(_: int, sweep: Path) -> Callable[[], None]:
    spec = _spec(sweep)
    experiments = sweep.parents[1] / "experiments"
    experiments.mkdir(exist_ok=True)
    options = RunOptions(run_id="scaling", experiments_dir=experiments)

    def work() -> None:
        create_run(spec, options)

    return work


def load(_: int, sweep: Path) -> Callable[[], None]:
    return lambda: Work(sweep) and None


def build(_: int, sweep: Path) -> Callable[[], None]:
    own = Work(sweep)
    begin_trial(own.folder, own.trial.slug)
    return lambda: build_requests(own.folder, own.plan, own.trial) and None


def ask(_: int, sweep: Path) -> Callable[[], None]:
    own = Work(sweep)

    def work() -> None:
        engine = connect(own.block.model, own.spec.execution, own.folder.engines)
        generated = asyncio.run(
            generate(own.folder, own.plan, own.block, own.trial, engine, own.spec.execution)
        )
        note_generated(own.folder, own.block, own.trial.slug, generated)

    return work


def read(_: int, sweep: Path) -> Callable[[], None]:
    own = Work(sweep)
    return lambda: count_draws(own.folder, own.plan, own.trial) and None


def parse(_: int, sweep: Path) -> Callable[[], None]:
    own = Work(sweep)
    return lambda: write_predictions(own.own, own.plan, own.trial) and None


def score(_: int, sweep: Path) -> Callable[[], None]:
    own = Work(sweep)

    def work() -> None:
        experiment = own.spec.experiment
        write_scores(own.own, own.plan, own.trial, experiment.unsupported, experiment.scoring)

    return work


def end(_: int, sweep: Path) -> Callable[[], None]:
    own = Work(sweep)

    def work() -> None:
        write_costs(own.own, own.spec.execution.pricing, 1.0)
        counts = count_draws(own.folder, own.plan, own.trial)
        settle_trial(own.folder, own.trial.slug, counts, StepRange())

    return work


def compare(_: int, sweep: Path) -> Callable[[], None]:
    folder = RunFolder(sweep.parents[1] / "experiments" / "run_scaling")
    spec = load_spec(folder)
    slugs = [path.parent.parent.name for path in folder.path.glob("*/results/per_item_scores.csv")]

    def work() -> None:
        settings = spec.experiment.statistics
        write_significance(folder, {slug: compare_trial(folder, slug, settings) for slug in slugs}, settings)

    return work


def report(_: int, sweep: Path) -> Callable[[], None]:
    folder = RunFolder(sweep.parents[1] / "experiments" / "run_scaling")
    return partial(write_reports, folder)


STAGES: dict[str, Stage] = {
    "read, check and freeze items": prepare,
    "make the run": make,
    "load the plan": load,
    "build requests": build,
    "ask and journal": ask,
    "read the journal": read,
    "parse": parse,
    "score": score,
    "costs and seals": end,
    "statistics": compare,
    "report": report,
}

if __name__ == "__main__":
    measure(STAGES)
