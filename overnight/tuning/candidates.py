"""Candidates: the few settings of an engine that are worth measuring; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from overnight.errors import UsageError
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind
from overnight.spec.overrides import Overrides

_SLOTS = (4, 1, 2, 8)  # the default first: what is measured first is compared with
_SLOTS_OF_GPU = (4, 1, 8, 16, 32)  # it computes many at once for hardly more than one
_ROWS = (1, 4, 16)  # of a batch of transformers, each of the longest prompt and answer
_CONTEXTS = (2048, 4096, 8192)  # tokens
_AT_ONCE = "max_concurrent_requests"
_THREADS = "engine.threads"
_INVARIANT = "engine.batch_invariant"
_BATCH_TOKENS = "engine.transformers.batch_tokens"
_CONTEXT = "engine.context_tokens"
_SHORT = {
    _AT_ONCE: "{} at once",
    _THREADS: "{} threads",
    _BATCH_TOKENS: "batches of {} tokens",
    _CONTEXT: "context of {}",
}
_KEPT = {True: "KV bf16, batch-invariant", False: "KV f16, not batch-invariant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """What a process of ours may compute on."""

    physical: int
    logical: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to hold a model."""

    settings: Mapping[str, Any] = field(default_factory=dict)  # keys below ``execution``
    context_tokens: int  # of one request
    gives_up: str | None = None  # why it is measured and never chosen; None: it may be chosen

    @property
    def label(self) -> str:
        """The settings in a few words."""
        words = [
            _KEPT[value] if key == _INVARIANT else _SHORT[key].format(value)
            for key, value in self.settings.items()
        ]
        return ", ".join(words) or "as it is"

    def carried_out(self, execution: Execution) -> Execution:
        """Return an execution with these settings."""
        changed = Overrides(execution.model_dump(mode="json"))
        for key, value in self.settings.items():
            changed.set(key, value, "tune")
        return Execution.model_validate(changed.value)


def candidates(
    engine: EngineKind, *, needed_tokens: int, longest_tokens: int, cores: Cores, has_gpu: bool
) -> tuple[Candidate, ...]:
    """Return three to eight settings, the engine's default first; fewer where a model is for short contexts only.

    One thing differs at a time: all combinations of slots, threads and types of keys and values would take a night of
    their own. What answers stand for is never traded for speed: without batch invariance an answer depends on what else
    is asked, so that where it is the default its price is measured and the setting is not chosen.

    Args:
        engine: that holds the model.
        needed_tokens: of the longest prompt and its answer.
        longest_tokens: that the model was trained for.
        cores: of this machine.
        has_gpu: the model is on a GPU.

    Raises:
        UsageError: nothing here changes how fast the engine is.
    """
    if engine is EngineKind.LLAMA_CPP:
        return _of_llama_cpp(needed_tokens, cores, has_gpu=has_gpu)
    if engine is EngineKind.TRANSFORMERS:
        return _of_transformers(needed_tokens, cores, has_gpu=has_gpu)
    if engine is EngineKind.OLLAMA:
        contexts = [needed_tokens, *(n for n in _CONTEXTS if needed_tokens < n <= longest_tokens)]
        return tuple(Candidate(settings={_CONTEXT: n}, context_tokens=n) for n in contexts)
    raise UsageError(
        f"engine {engine.value}: nothing of it is set from here; its requests at once are "
        "execution.max_concurrent_requests"
    )


def _of_llama_cpp(needed_tokens: int, cores: Cores, *, has_gpu: bool) -> tuple[Candidate, ...]:
    slots = _SLOTS_OF_GPU if has_gpu else _SLOTS

    def held(n: int, threads: int = cores.physical) -> Candidate:
        return Candidate(settings={_AT_ONCE: n, _THREADS: threads}, context_tokens=needed_tokens)

    found = [held(n) for n in slots]
    if cores.logical > cores.physical and not has_gpu:
        found.append(held(slots[0], cores.logical))
    other_way = Candidate(
        settings={**found[0].settings, _INVARIANT: has_gpu},  # without a GPU it is the default
        context_tokens=needed_tokens,
        gives_up=None if has_gpu else "its answers depend on what else is asked at the same time",
    )
    return (*found, other_way)


def _of_transformers(needed_tokens: int, cores: Cores, *, has_gpu: bool) -> tuple[Candidate, ...]:
    found: list[dict[str, Any]] = [{_THREADS: cores.physical}]
    found += [{_THREADS: cores.physical, _BATCH_TOKENS: rows * needed_tokens} for rows in _ROWS]
    if cores.logical > cores.physical and not has_gpu:
        found.append({_THREADS: cores.logical})
    return tuple(Candidate(settings=settings, context_tokens=needed_tokens) for settings in found)
