"""How well the estimate meets what a process really holds: models loaded, asked, and watched, setting by setting."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from overnight.engines.holding import host_settings
from overnight.engines.host import EngineHost
from overnight.engines.sources import Weights, fetch, with_digest
from overnight.errors import UndefinedMetricError, UsageError
from overnight.memory.bench_requests import fill_batch, fill_slots
from overnight.memory.estimate import MemoryEstimate, Place
from overnight.memory.fitting import estimate_model, known_facts
from overnight.memory.free import free_memory
from overnight.memory.peaks import note_peak
from overnight.memory.processes import MeasuredPeak, MemoryWatch
from overnight.spec.engine_transformers import TransformersSettings
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.store.files import scratch_folder
from overnight.telemetry.environment import machine_identity

SETTINGS = {
    EngineKind.LLAMA_CPP: (
        (1, 512),
        (2, 512),
        (4, 512),
        (8, 512),
        (1, 2048),
        (4, 2048),
        (1, 8192),
        (2, 8192),
    ),
    EngineKind.TRANSFORMERS: (
        (1, 256),
        (4, 256),
        (16, 256),
        (2, 512),
        (8, 512),
        (1, 1024),
        (4, 1024),
        (1, 2048),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """What was computed and what was measured of one setting."""

    slots: int  # of llama.cpp; rows of a batch of transformers
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


def bench_memory(
    model: ModelSpec, settings: Sequence[tuple[int, int]] | None = None, *, threads: int | None = None
) -> Iterator[BenchRow]:
    """Load a model at several settings, one after another, fill its slots or one batch, and yield each as it is done.

    What is measured is the most resident memory of the engine's process since it began (VmHWM on Linux): its own pages
    and the pages of files it has mapped. Weights on the host are such pages and count once; that another process may
    have them too does not lessen it. What was measured is kept to correct later estimates.

    Args:
        model: resolved; it is downloaded where it is not here.
        settings: (requests at once, context tokens of each); None for `SETTINGS`.
        threads: of the engine; None for the physical cores.

    Raises:
        UsageError: it is not held by a process of ours, or is not for such contexts.
        UndefinedMetricError: its memory cannot be estimated.
        EngineError: it cannot be held.
    """
    if model.engine not in SETTINGS:
        raise UsageError(
            f"model {model.name}: engine: found {model.engine.value}, wanted llama_cpp or transformers"
        )
    weights = fetch(with_digest(model))
    known = model.model_copy(update={"sha256": weights.sha256})
    for at_once, context_tokens in settings or SETTINGS[model.engine]:
        if context_tokens > model.context_tokens:
            continue
        yield _bench_one(known, weights, at_once, context_tokens, threads)


def _bench_one(
    model: ModelSpec, weights: Weights, at_once: int, context_tokens: int, threads: int | None
) -> BenchRow:
    is_batch = model.engine is EngineKind.TRANSFORMERS
    batch = TransformersSettings(batch_tokens=at_once * context_tokens if is_batch else None)
    execution = Execution(
        max_concurrent_requests=at_once, engine=EngineSettings(threads=threads, transformers=batch)
    )
    saved = None
    with scratch_folder("bench") as scratch:
        settings = host_settings(model, weights.path, context_tokens, execution)
        with EngineHost(settings, scratch, model.name) as host:
            host.start()
            with MemoryWatch(host.state.pid or 0) as watch:
                if is_batch:
                    fill_batch(host, at_once, context_tokens)
                else:
                    vocabulary = known_facts(weights.path).vocab_size
                    saved = fill_slots(host, at_once, context_tokens, vocabulary)
            peak = watch.peak
    estimate, why = estimate_model(
        model, at_once, context_tokens, execution, free_memory(), saved_tokens=saved, is_plain=True
    )
    if estimate is None or estimate.undefined_because:
        raise UndefinedMetricError(f"{model.name}: {why or (estimate and estimate.undefined_because)}")
    note_peak(estimate, peak, model=model.name, model_digest=str(model.sha256), machine=machine_identity())
    return BenchRow(slots=at_once, context_tokens=context_tokens, estimate=estimate, peak=peak)


def _relative(estimate: int | None, measured: int | None) -> float | None:
    return None if estimate is None or not measured else (estimate - measured) / measured


def worst(rows: Sequence[BenchRow], error: Callable[[BenchRow], float | None]) -> float | None:
    """Return the largest relative error, without its sign; None without any."""
    return max((abs(value) for row in rows if (value := error(row)) is not None), default=None)
