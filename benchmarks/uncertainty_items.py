"""The uncertainty trials that are timed: what they ask, and our way through them, step by step as a run takes it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_items import rendered
from figures import NotMeasuredError
from polygraph_terms import Relevances, in_their_terms
from stopwatch import Spent, Stopwatch

from overnight.engines.holding import connect, hold
from overnight.engines.sources import fetch
from overnight.engines.state import read_state
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.requests import Request
from overnight.planning.uncertainty_trials import UncertaintyTrial
from overnight.runs.building import build_requests, built_requests
from overnight.runs.generating import generate
from overnight.runs.opening import create_run, load_plan
from overnight.runs.relating import write_relevance
from overnight.runs.resolving import resolve
from overnight.runs.trials import begin_trial
from overnight.runs.uncertainty_measuring import write_measures
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.run_options import RunOptions
from overnight.spec.text_model import TextModelSpec
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec
from overnight.store.journal import is_done, read_rows
from overnight.store.run_folder import RunFolder
from overnight.text_models.asked import TextSimilarity
from overnight.text_models.holding import Holding, hold_similarity
from overnight.uncertainty.answer import GeneratedAnswer
from overnight.uncertainty.reading import read_answer
from overnight.uncertainty.relevance import Pair, relevance_of

MAX_NEW_TOKENS = 32
_TIMEOUT_S = 1800  # loading is not timed, and on a busy machine takes its time
_MODEL = "smollm2-135m-instruct-fp32"
_DATASETS = ("starter_closed", "starter_open")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPass:
    """What one pass of ours over all items came to."""

    generating: Spent
    relating: Spent  # the relevance of the tokens, behind the question and behind the passage too
    relating_same: Spent  # that of the very pairs that LM-Polygraph asks about
    measuring: Spent  # the measures and the labels, tables written
    answers: dict[str, GeneratedAnswer]  # by custom id
    relevances: Relevances  # by custom id, in LM-Polygraph's terms

    def whole(self, *, same_pairs: bool) -> Spent:
        """Return what all of it took.

        Args:
            same_pairs: with the relevance of the very pairs that LM-Polygraph asks about, instead of ours.
        """
        return self.generating + (self.relating_same if same_pairs else self.relating) + self.measuring


class UncertaintyRun:
    """A run of a sweep over the items, up to where its model would be loaded."""

    def __init__(self, spec: UncertaintySweepSpec, experiments: Path, run_id: str) -> None:
        self._spec = spec
        self._folder: RunFolder = create_run(spec, RunOptions(run_id=run_id, experiments_dir=experiments))
        self._plan: Plan = load_plan(self._folder, spec)
        self._block: ModelBlock = self._plan.blocks[0]
        self._trials = [trial for trial in self._block.trials if isinstance(trial, UncertaintyTrial)]
        for trial in self._trials:
            begin_trial(self._folder, trial.slug)
            build_requests(self._folder, self._plan, trial)
        self.weights = fetch(self._block.model).path

    @property
    def stop(self) -> tuple[str, ...]:
        """Where answers end."""
        return self._trials[0].sampling.stop

    def prompts(self) -> list[dict[str, Any]]:
        """Return the prompt of every item, as our host renders it, in the order in which the run sends them."""
        return rendered(self._requests(), self.weights)

    def measure(self, prompts: dict[str, str], similarity: TextModelSpec, cache: Path) -> OwnPass:
        """Answer, relate and measure all items; only that is timed, not the loading of either model.

        Args:
            prompts: rendered, by custom id.
            similarity: what says how relevant a token is.
            cache: an empty folder, for what was asked of it.
        """
        generating = self._generate()
        answers = dict(self._answers())
        terms = {name: in_their_terms(answer) for name, answer in answers.items()}
        with self._held(similarity, cache) as model:
            pid = read_state(self._folder.engines / f"{similarity.name}.json").pid
            with Stopwatch(pid) as relating:
                for trial in self._trials:
                    write_relevance(self._folder.trial(trial.slug), self._plan, trial, model)
            with Stopwatch(pid) as relating_same:
                found = relevance_of([(prompts[name], counted) for name, counted in terms.items()], model)
            if model.n_cut:
                raise NotMeasuredError(
                    f"{model.n_cut} pairs of texts are longer than the similarity model reads"
                )
        with Stopwatch() as measuring:
            for trial in self._trials:
                write_measures(self._folder.trial(trial.slug), self._plan, trial, self._spec.experiment)
        return OwnPass(
            generating=generating,
            relating=relating.spent,
            relating_same=relating_same.spent,
            measuring=measuring.spent,
            answers=answers,
            relevances=dict(zip(terms, found, strict=True)),
        )

    def _generate(self) -> Spent:
        execution, block = self._spec.execution, self._block
        with hold(block.model, self.weights, block.context_tokens, execution, self._folder.engines) as holder:
            holder.start()
            with Stopwatch(holder.state.pid) as watch:
                for trial in self._trials:
                    engine = connect(block.model, execution, self._folder.engines)
                    asyncio.run(generate(self._folder, self._plan, block, trial, engine, execution))
        return watch.spent

    @contextmanager
    def _held(self, similarity: TextModelSpec, cache: Path) -> Iterator[TextSimilarity]:
        settings = self._spec.execution.engine
        holding = Holding(
            folder=self._folder.engines,
            cache=cache,
            threads=settings.threads,
            timeout_s=_TIMEOUT_S,
            startup_timeout_s=settings.startup_timeout_s,
        )
        with hold_similarity(similarity, holding) as model:
            model([Pair("It is loaded", "when it is first asked.")])
            yield model

    def _requests(self) -> list[Request]:
        return [
            request for trial in self._trials for request in built_requests(self._folder, self._plan, trial)
        ]

    def _answers(self) -> Iterator[tuple[str, GeneratedAnswer]]:
        for trial in self._trials:
            for row in read_rows(self._folder.trial(trial.slug).journal):
                if is_done(row):
                    yield row["custom_id"], read_answer(row, trial.sampling.stop)


def sweep_of(n_items: int, threads: int, similarity: TextModelSpec, root: Path) -> UncertaintySweepSpec:
    """Return a sweep over starter items, half of them with a passage, asked as the grid asks: briefly, after shots.

    Args:
        n_items: how many of them.
        threads: of both models.
        similarity: what says how relevant a token is.
        root: an empty folder for the configuration.
    """
    spec = UncertaintySweepSpec.model_validate(
        {
            "name": "uncertainty",
            "experiment": {
                "models": [ConfigRoot(shipped_config()).model(_MODEL)],
                "datasets": _DATASETS,
                "items_per_dataset": n_items // len(_DATASETS),
                "asking": {"style": "short", "shots": 3},
                "max_new_tokens": MAX_NEW_TOKENS,
                "relevance": similarity,
            },
            "execution": {
                "request_cache": False,
                "engine": {"threads": threads, "startup_timeout_s": _TIMEOUT_S},
            },
        }
    )
    return resolve(spec, ConfigRoot(root))
