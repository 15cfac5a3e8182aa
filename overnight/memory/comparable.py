"""Which estimate a measured peak can be compared with, where prompts were saved meanwhile."""

from collections.abc import Iterable

from overnight.memory.estimate import MemoryEstimate
from overnight.memory.fitting import estimate_model
from overnight.memory.free import free_memory
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.store.journal import Row

_VAGUE = 0.05  # of an estimate: what is not known better than this says nothing about its error


def tokens_to_save(rows: Iterable[Row]) -> tuple[int, int] | None:
    """Return the least and the most tokens that an engine may have saved of what it was asked; None where unknown.

    It is between what it evaluated anew and all that stood in its slots: it saves a slot's whole sequence, but not
    where the next prompt goes on from most of it.

    Args:
        rows: of the journals, of what one process was asked.
    """
    least = most = 0
    for row in rows:
        if row["status"] != "ok" or row.get("cached"):
            continue
        if row["prompt_tokens"] is None or row["completion_tokens"] is None:
            return None
        least += row["prompt_tokens"] - (row["cached_tokens"] or 0)
        most += row["prompt_tokens"] + row["completion_tokens"]
    return (least, most) if most else None


def comparable_estimate(
    model: ModelSpec, slots: int, context_tokens: int, execution: Execution, rows: Iterable[Row]
) -> MemoryEstimate | None:
    """Return what was computed for the settings that a peak was measured of; None where the two cannot be compared.

    transformers makes its batches as large as memory allows, so that its peak says how much there was. Of llama.cpp it
    must be known how much it saved: nearly nothing, or its limit.

    Args:
        model: resolved.
        slots: requests that were answered at once.
        context_tokens: of each of them.
        execution: how it was held.
        rows: of what its process was asked.
    """
    if model.engine is not EngineKind.LLAMA_CPP:
        return None
    saved = tokens_to_save(rows)
    if saved is None:
        return None
    free = free_memory()
    least, most = (
        estimate_model(model, slots, context_tokens, execution, free, saved_tokens=tokens, is_plain=True)[0]
        for tokens in saved
    )
    if least is None or most is None or least.total is None or most.total is None:
        return None
    return most if most.total - least.total <= _VAGUE * least.total else None
