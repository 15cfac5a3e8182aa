"""Everybody who is asked the items, each with the model loaded afresh: ours, lm-evaluation-harness, the bare ones."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bare_engine import Body, ask_bare
from engine_items import MAX_NEW_TOKENS, Answers, OwnRun, rendered, sweep_of
from environments import run_worker
from figures import NotMeasuredError
from lm_eval_harness import ask_lm_eval

from overnight.engines.holding import host_settings
from overnight.planning.requests import as_row
from overnight.spec.model import EngineKind

LM_EVAL = "lm-eval"
LLAMA_CPP, TRANSFORMERS = EngineKind.LLAMA_CPP, EngineKind.TRANSFORMERS
OURS = (LLAMA_CPP, TRANSFORMERS)
BARE = {LLAMA_CPP: "bare llama.cpp", TRANSFORMERS: "bare transformers"}
_HERE = Path(__file__).parent


class Contestants:
    """The ways of asking, each of which loads its model afresh and asks everything once."""

    def __init__(
        self, scratch: Path, n_items: int, threads: int, harness: Path | None, n_words: int | None
    ) -> None:
        self._scratch = scratch
        self._threads = threads
        self._n_runs = 0
        self.harness = harness  # the Python of lm-eval's environment; None: it is left out
        self.batch_size = 0
        self._sweeps = {
            engine: sweep_of(engine, scratch / "config", n_items, threads, n_words) for engine in OURS
        }
        run = self._own(TRANSFORMERS)
        self._folder = run.weights
        self._prompts = rendered(run.requests, self._folder)

    @property
    def ways(self) -> dict[str, Callable[[], Answers]]:
        """All of them, in the order in which they have their turn."""
        found: dict[str, Callable[[], Answers]] = {
            LLAMA_CPP: lambda: self._own(LLAMA_CPP).ask(),
            TRANSFORMERS: lambda: self._own(TRANSFORMERS).ask(),
            BARE[LLAMA_CPP]: self._bare_llama_cpp,
            BARE[TRANSFORMERS]: self._bare_transformers,
        }
        return found | (
            {LM_EVAL: lambda: self._lm_eval([self.batch_size], self._prompts)[self.batch_size]}
            if self.harness
            else {}
        )

    def choose_batch_size(self, sizes: Sequence[int], n_items: int) -> dict[int, float]:
        """Have lm-eval try batch sizes on some items, and keep its fastest; return the items a minute of each."""
        some = self._prompts[:: max(1, len(self._prompts) // n_items)][:n_items]  # of every dataset
        tried = {size: answers.per_minute for size, answers in self._lm_eval(sizes, some).items()}
        self.batch_size = max(tried, key=tried.__getitem__)
        return tried

    def _own(self, engine: EngineKind) -> OwnRun:
        self._n_runs += 1
        return OwnRun(self._sweeps[engine], self._scratch / "experiments", f"benchmark{self._n_runs:03d}")

    def _bare_llama_cpp(self) -> Answers:
        """Ask llama.cpp's server one request after another; as by itself, it keeps the prefix of the last one."""
        run = self._own(LLAMA_CPP)
        block, execution = run.block, run.spec.execution.model_copy(update={"max_concurrent_requests": 1})
        settings = host_settings(block.model, run.weights, block.context_tokens, execution)
        bodies: list[Body] = [as_row(request, block.model.name)["body"] for request in run.requests]
        came_to = ask_bare(bodies, settings, self._scratch / "bare")
        return Answers(wall_s=came_to.wall_s, n_items=came_to.n_answers)

    def _bare_transformers(self) -> Answers:
        settings = self._worker_settings | {"max_new_tokens": MAX_NEW_TOKENS, "prompts": self._prompts}
        script = _HERE / "bare_transformers.py"
        came_to = run_worker(Path(sys.executable), script, settings, self._scratch / "bare_transformers")
        return Answers.of_worker(came_to)

    def _lm_eval(self, sizes: Sequence[int], prompts: Sequence[dict[str, Any]]) -> dict[int, Answers]:
        if self.harness is None:
            raise NotMeasuredError("lm-eval was left out")
        settings = self._worker_settings | {"batch_sizes": list(sizes)}
        return ask_lm_eval(self.harness, settings, prompts, self._scratch / "lm_eval")

    @property
    def _worker_settings(self) -> dict[str, Any]:
        return {"folder": str(self._folder), "threads": self._threads}
