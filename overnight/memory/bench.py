"""How well the estimate meets what a process really holds: models loaded, asked, and watched, setting by setting."""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from overnight.engines.holding import host_settings
from overnight.engines.host import EngineHost
from overnight.engines.sources import Weights, fetch, with_digest
from overnight.errors import BadResponse, UndefinedMetricError, UsageError
from overnight.memory.estimate import MemoryEstimate, Place
from overnight.memory.fitting import estimate_model, known_facts
from overnight.memory.free import free_memory
from overnight.memory.peaks import note_peak
from overnight.memory.processes import MeasuredPeak, MemoryWatch
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.prompt_sweep import EngineSettings, Execution
from overnight.telemetry.environment import machine_identity

SETTINGS = ((1, 512), (2, 512), (4, 512), (8, 512), (1, 2048), (4, 2048), (1, 8192), (2, 8192))
_PROMPT_TOKENS = 560  # more than llama.cpp computes at once, so that its buffer is used whole
_SHORT_PROMPT_TOKENS = 64  # of the other slots: their cache is there from the beginning
_ANSWER_TOKENS = 16
_ROUNDS = 2  # the second saves the prompts of the first
_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """What was computed and what was measured of one setting."""

    slots: int
    context_tokens: int
    estimate: MemoryEstimate
    peak: MeasuredPeak

    @property
    def relative_error(self) -> float | None:
        """(estimate - peak) / peak, of the host's memory; above 0 where too much was computed."""
        return _relative(self.estimate.on(Place.HOST), self.peak.host_bytes)

    @property
    def device_error(self) -> float | None:
        """The same of the GPU's; None without one."""
        return _relative(self.estimate.on(Place.DEVICE), self.peak.device_bytes)

    def as_row(self) -> dict[str, Any]:
        """Return it for a JSON file; bytes."""
        return {
            "slots": self.slots,
            "context_tokens": self.context_tokens,
            "estimate": self.estimate.as_row(),
            "peak_host_bytes": self.peak.host_bytes,
            "peak_anonymous_bytes": self.peak.host_anonymous_bytes,
            "peak_device_bytes": self.peak.device_bytes,
            "relative_error": self.relative_error,
            "relative_error_device": self.device_error,
        }


def bench_llama_cpp(
    model: ModelSpec, settings: Sequence[tuple[int, int]] = SETTINGS, *, threads: int | None = None
) -> Iterator[BenchRow]:
    """Load a model at several settings, one after another, ask it twice in every slot, and yield each as it is done.

    What is measured is the most resident memory of the engine's process since it began (VmHWM on Linux): its own pages
    and the pages of files it has mapped. Weights on the host are such pages and count once; that another process may
    have them too does not lessen it. What was measured is kept to correct later estimates.

    Args:
        model: resolved; it is downloaded where it is not here.
        settings: (slots, context tokens of each).
        threads: of the engine; None for the physical cores.

    Raises:
        UsageError: it is not a model of llama.cpp, or is not for such contexts.
        UndefinedMetricError: its memory cannot be estimated.
        EngineError: it cannot be held.
    """
    if model.engine is not EngineKind.LLAMA_CPP:
        raise UsageError(f"model {model.name}: engine: found {model.engine.value}, wanted llama_cpp")
    weights = fetch(with_digest(model))
    known = model.model_copy(update={"sha256": weights.sha256})
    execution = Execution(engine=EngineSettings(threads=threads))
    for slots, context_tokens in settings:
        if context_tokens > model.context_tokens:
            continue
        yield _bench_one(known, weights, slots, context_tokens, execution)


def _bench_one(
    model: ModelSpec, weights: Weights, slots: int, context_tokens: int, execution: Execution
) -> BenchRow:
    vocabulary = known_facts(weights.path).vocab_size
    held = execution.model_copy(update={"max_concurrent_requests": slots})
    with tempfile.TemporaryDirectory(prefix="overnight-bench-") as scratch:
        host = EngineHost(host_settings(model, weights.path, context_tokens, held), Path(scratch), model.name)
        with host:
            host.start()
            with MemoryWatch(host.state.pid or 0) as watch:
                saved = _ask(host, slots, context_tokens, vocabulary)
            peak = watch.peak
    estimate, why = estimate_model(
        model, slots, context_tokens, held, free_memory(), saved_tokens=saved, is_plain=True
    )
    if estimate is None or estimate.undefined_because:
        raise UndefinedMetricError(f"{model.name}: {why or (estimate and estimate.undefined_because)}")
    note_peak(estimate, peak, model=model.name, model_digest=str(model.sha256), machine=machine_identity())
    return BenchRow(slots=slots, context_tokens=context_tokens, estimate=estimate, peak=peak)


def _ask(host: EngineHost, slots: int, context_tokens: int, vocabulary: int) -> int:
    """Ask in every slot at once, twice, prompts that have nothing in common; return the tokens that were saved."""
    room = context_tokens - 2 * _ANSWER_TOKENS
    lengths = [min(room, _PROMPT_TOKENS), *[min(room, _SHORT_PROMPT_TOKENS)] * (slots - 1)]
    stream = random.Random(2025)  # noqa: S311 - prompts, not secrets
    headers = {"Authorization": f"Bearer {host.state.token}"}
    with httpx.Client(base_url=str(host.state.url), headers=headers, timeout=_TIMEOUT_S) as client:

        def ask(prompt: list[int]) -> int:
            answer = client.post(
                "/completion",
                json={"prompt": prompt, "n_predict": _ANSWER_TOKENS, "cache_prompt": True, "n_probs": 1},
            )
            try:
                body: Mapping[str, Any] = answer.json()
                return int(body["tokens_evaluated"]) + int(body["tokens_predicted"])
            except (ValueError, KeyError, TypeError):
                raise BadResponse(f"llama.cpp answered {answer.text[:200]}") from None

        rounds = []
        with ThreadPoolExecutor(slots) as pool:
            for _ in range(_ROUNDS):
                prompts = [[stream.randrange(vocabulary) for _ in range(length)] for length in lengths]
                rounds.append(sum(pool.map(ask, prompts)))
    return sum(rounds[:-1])


def _relative(estimate: int | None, measured: int | None) -> float | None:
    return None if estimate is None or not measured else (estimate - measured) / measured


def worst(rows: Sequence[BenchRow], error: Callable[[BenchRow], float | None]) -> float | None:
    """Return the largest relative error, without its sign; None without any."""
    return max((abs(value) for row in rows if (value := error(row)) is not None), default=None)
