"""What models need with given settings on this machine, and which of several settings is the first that fits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from overnight.errors import UsageError
from overnight.memory.estimate import MemoryEstimate, Place
from overnight.memory.facts import ModelFacts, read_facts
from overnight.memory.fits import MARGIN, Fit, fits
from overnight.memory.free import FreeMemory, free_memory
from overnight.memory.layers import most_layers
from overnight.memory.llama_cpp_estimate import LlamaCppSettings, estimate_llama_cpp
from overnight.memory.peaks import corrected, read_peaks
from overnight.memory.repacking import repacked_types
from overnight.memory.transformers_estimate import TransformersSettings, estimate_transformers
from overnight.memory.weights import local_weights
from overnight.planning.plan import Plan
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.telemetry.environment import machine_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFit:
    """What one model needs with one setting, and whether it fits."""

    model: str
    slots: int
    context_tokens: int
    estimate: MemoryEstimate | None
    fit: Fit
    unknown_because: str | None = None

    def as_row(self) -> dict[str, Any] | None:
        """Return it as it stands in ``plan.json``; None where nothing is known of what it needs."""
        if self.estimate is None:
            return None
        return {**self.estimate.as_row(), **self.fit.as_row()}


def model_fit(
    model: ModelSpec,
    slots: int,
    context_tokens: int,
    execution: Execution,
    free: Sequence[FreeMemory] | None = None,
    margin: float = MARGIN,
) -> ModelFit:
    """Return what a model needs and whether it fits, without loading it.

    Args:
        model: resolved.
        slots: requests that are answered at once.
        context_tokens: of each of them.
        execution: how it is held.
        free: what is free; None to look it up.
        margin: share of it that is left free.
    """
    there = _of_each_process(free_memory() if free is None else free, execution)
    estimate, why = estimate_model(model, slots, context_tokens, execution, there)
    if estimate is None:
        verdict = Fit(needed=None, free=None, fits=None, why=str(why))
    else:
        verdict = fits(estimate, there, margin)
    return ModelFit(
        model=model.name,
        slots=slots,
        context_tokens=context_tokens,
        estimate=estimate,
        fit=verdict,
        unknown_because=why or (estimate.undefined_because if estimate else None),
    )


def fit_rungs(
    rungs: Iterable[tuple[ModelSpec, int, int]],
    execution: Execution,
    free: Sequence[FreeMemory] | None = None,
    margin: float = MARGIN,
) -> list[ModelFit]:
    """Return what each rung of a ladder needs, in order, against the same free memory.

    Args:
        rungs: (model, slots, context_tokens), the wanted one first.
        execution: how they are held.
        free: what is free; None to look it up.
        margin: share of it that is left free.
    """
    there = free_memory() if free is None else free
    return [model_fit(model, slots, context, execution, there, margin) for model, slots, context in rungs]


def fit_blocks(plan: Plan, execution: Execution, free: Sequence[FreeMemory] | None = None) -> list[ModelFit]:
    """Return what each block of a plan needs, as its run would hold it.

    Args:
        plan: what is going to run.
        execution: how.
        free: what is free; None to look it up.
    """
    return fit_rungs(
        [(block.model, held_at_once(block.model, execution), block.context_tokens) for block in plan.blocks],
        execution,
        free,
    )


def held_at_once(model: ModelSpec, execution: Execution) -> int:
    """Return for how many requests a model needs memory from the beginning.

    llama.cpp sets aside a cache for every slot. transformers makes its batches as large as the memory that is left, so
    that it fits where a single row does.
    """
    if model.engine is EngineKind.TRANSFORMERS:
        return execution.max_concurrent_requests or 1
    return execution.requests_at_once(model.engine)


def first_that_fits(found: Sequence[ModelFit]) -> ModelFit | None:
    """Return the first rung that is known to fit; None where there is none."""
    return next((one for one in found if one.fit.fits), None)


def estimate_model(
    model: ModelSpec,
    slots: int,
    context_tokens: int,
    execution: Execution,
    free: Sequence[FreeMemory],
    *,
    saved_tokens: int | None = None,
    is_plain: bool = False,
) -> tuple[MemoryEstimate | None, str | None]:
    """Return what a model needs, or why that is not known.

    Args:
        model: resolved.
        slots: requests that are answered at once.
        context_tokens: of each of them.
        execution: how it is held.
        free: where there is a GPU among it, the model is taken to be on it.
        saved_tokens: of prompts that llama.cpp will have saved; None for as many as it may.
        is_plain: leave out what was measured here: for `note_peak`, which compares the two.
    """
    here = local_weights(model)
    if here.path is None:
        return None, here.absent_because
    try:
        facts = known_facts(here.path)
    except UsageError as error:
        return None, str(error)
    has_device = any(memory.place is Place.DEVICE for memory in free)
    if model.engine is EngineKind.LLAMA_CPP:
        gpu_layers = execution.engine.gpu_layers if has_device else 0
        is_invariant = execution.engine.batch_invariant
        is_invariant = not gpu_layers if is_invariant is None else is_invariant  # as the host decides
        is_limited = (
            execution.engine.memory_limit_bytes is not None
        )  # then it reads its file, and saves nothing
        settings = LlamaCppSettings(
            slots=slots,
            context_tokens=context_tokens,
            kv_type="bf16" if is_invariant else "f16",
            gpu_layers=gpu_layers,
            saved_tokens=0 if is_limited else saved_tokens,
            repacked_types=() if is_limited else repacked_types(),
        )
        if gpu_layers < 0 and execution.engine.cpu_offload == "allow":
            on_gpus = sum(memory.free_bytes or 0 for memory in free if memory.place is Place.DEVICE)
            settings = replace(
                settings, gpu_layers=most_layers(facts, settings, on_gpus, execution.memory_margin)
            )
        estimate = estimate_llama_cpp(facts, settings)
    else:
        estimate = estimate_transformers(
            facts, TransformersSettings.of(model, slots, context_tokens, is_on_device=has_device)
        )
    if is_plain:
        return estimate, None
    peaks = read_peaks(model.sha256, model.engine.value, machine_identity())
    return corrected(estimate, peaks), None


def _of_each_process(free: Sequence[FreeMemory], execution: Execution) -> list[FreeMemory]:
    """Return what is free for each process that holds the model: they share the host, and have a GPU each."""
    n_processes = execution.num_processes
    if n_processes == 1:
        return _within_limit(free, execution)
    shared = [
        replace(
            memory,
            free_bytes=memory.free_bytes // n_processes,
            source=f"{memory.source}, for each of {n_processes} processes",
        )
        if memory.place is Place.HOST and memory.free_bytes is not None
        else memory
        for memory in free
    ]
    return _within_limit(shared, execution)


def _within_limit(free: Sequence[FreeMemory], execution: Execution) -> list[FreeMemory]:
    """Return what is free for a process that may not take more of the host than its limit."""
    limit = execution.engine.memory_limit_bytes
    return [
        replace(memory, free_bytes=limit, source="execution.engine.memory_limit_gib")
        if memory.place is Place.HOST and limit is not None and limit < (memory.free_bytes or limit + 1)
        else memory
        for memory in free
    ]


def known_facts(path: Path) -> ModelFacts:
    """Return a model's facts, read once for as long as its file stays the same.

    Raises:
        UsageError: it has none that can be read.
    """
    status = path.stat()
    return _read_once(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _read_once(path: Path, n_bytes: int, changed_ns: int) -> ModelFacts:  # noqa: ARG001 - they make it anew
    return read_facts(path)


def predicted_memory(found: Iterable[ModelFit]) -> Mapping[str, dict[str, Any] | None]:
    """Return rows for ``plan.json`` by the model's name; None where nothing is known."""
    return {one.model: one.as_row() for one in found}
