"""The ladder: the ways to hold a model in memory, from what was asked for down to the least that will do.

Each rung gives up one thing more than the one above it, in a fixed order: requests at once, context as long as every
prompt and its answer still fit, then the quantization, then the model. The first two change no answer; the others make
another trial of it, and the rows of two models are never mixed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from overnight.spec.execution import Concession, Execution
from overnight.spec.model import EngineKind, ModelSpec

_HALF = 2
_ROUND_CONTEXT_TO = 256
# What an engine takes memory for when it loads. Transformers takes it batch by batch, and halves a batch by itself; an
# Ollama server has its own number of requests at once; the memory of somebody's server is not ours to step down in.
_TAKEN_AT_THE_LOAD: dict[EngineKind, frozenset[Concession]] = {
    EngineKind.LLAMA_CPP: frozenset({"concurrency", "context"}),
    EngineKind.OLLAMA: frozenset({"context"}),
}
Scope = Literal["execution", "experiment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to hold a model."""

    model: ModelSpec
    slots: int  # requests at once
    context_tokens: int  # of each of them

    def carried_out(self, execution: Execution) -> Execution:
        """Return how a run is carried out on this rung."""
        return execution.model_copy(update={"max_concurrent_requests": self.slots})

    @property
    def label(self) -> str:
        """The rung in a few words."""
        return f"{self.model.name}, {self.slots} x {self.context_tokens} tokens"

    def scope_of_step_from(self, above: "Rung") -> Scope:
        """Return what a step down to here changes: how the trial is run, or which trial it is."""
        return "execution" if self.model.identity == above.model.identity else "experiment"


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of a model block, the best first; never empty."""

    rungs: tuple[Rung, ...]

    def first_of(self, model: str) -> int:
        """Return the index of the best rung on which a model of that name is held; 0 where none is."""
        return next((index for index, rung in enumerate(self.rungs) if rung.model.name == model), 0)


def ladder(model: ModelSpec, context_tokens: int, needed_tokens: int, execution: Execution) -> Ladder:
    """Return the ladder of a resolved model.

    Args:
        model: what was asked for; the models below it are its ``stand_ins``.
        context_tokens: of one request, as it was asked for.
        needed_tokens: that the longest prompt takes with its answer.
        execution: how many requests at once, and what may be given up.
    """
    stand_ins = [low for low in model.stand_ins if _concession(model, low) in execution.step_down]
    rungs = list(_held(model, context_tokens, needed_tokens, execution))
    for low in stand_ins:
        rungs += _held(low, min(context_tokens, low.context_tokens), needed_tokens, execution)
    return Ladder(tuple(rungs))


def _held(model: ModelSpec, context_tokens: int, needed_tokens: int, execution: Execution) -> Iterator[Rung]:
    """Yield the rungs of one model: fewer requests at once, then shorter contexts for the last one."""
    may = _TAKEN_AT_THE_LOAD.get(model.engine, frozenset()).intersection(execution.step_down)
    slots, context = execution.requests_at_once(model.engine), context_tokens
    yield Rung(model=model, slots=slots, context_tokens=context)
    while "concurrency" in may and slots > 1:
        slots //= _HALF
        yield Rung(model=model, slots=slots, context_tokens=context)
    while "context" in may and context > needed_tokens:
        half = -(-context // _HALF // _ROUND_CONTEXT_TO) * _ROUND_CONTEXT_TO
        shorter = max(half, needed_tokens)
        if shorter >= context:
            return
        context = shorter
        yield Rung(model=model, slots=slots, context_tokens=context)


def _concession(asked: ModelSpec, low: ModelSpec) -> Concession:
    """Return what is given up by a stand-in: bits, where it is the same model, or the model."""
    same = (asked.family, asked.params_billion) == (low.family, low.params_billion)
    return "quantization" if same else "model"
