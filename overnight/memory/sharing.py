"""Which models of a plan are held at the same time on this machine, and why the others are not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overnight.memory.estimate import Place
from overnight.memory.fitting import held_at_once, model_fit
from overnight.memory.free import FreeMemory, free_memory
from overnight.planning.plan import ModelBlock
from overnight.planning.waves import Claim, summed, waves
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind

# More models on one GPU wait for each other, and each has a process that wants cores for its tokens.
AUTO_AT_MOST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Model blocks that are held at the same time; the next wave begins when all of them have let go."""

    blocks: tuple[ModelBlock, ...]
    needs: Mapping[str, int] | None  # bytes in all, by place; None where it is not known, or nobody asked
    alone_because: str | None = None  # None too where there are several

    @property
    def models(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(block.model.name for block in self.blocks)

    def as_row(self) -> dict[str, Any]:
        """Return it as it stands in ``plan.json``; bytes."""
        needs = None if self.needs is None else dict(self.needs)
        return {"models": list(self.models), "needed_bytes": needs, "alone_because": self.alone_because}


def waves_of(
    blocks: Sequence[ModelBlock], execution: Execution, free: Sequence[FreeMemory] | None = None
) -> tuple[Wave, ...]:
    """Return which blocks are held at the same time, in the order of the plan.

    A block whose need is not known goes alone; so does one beside which nothing fits.

    Args:
        blocks: of a plan, each on the rung that it begins on.
        execution: how; ``parallel_models`` and ``memory_margin`` decide.
        free: what is free; None to look it up.
    """
    if (why := _one_at_a_time(execution, len(blocks))) is not None:
        return tuple(Wave(blocks=(block,), needs=None, alone_because=why) for block in blocks)
    there = free_memory() if free is None else free
    limit = AUTO_AT_MOST if execution.parallel_models == "auto" else execution.parallel_models
    found = [_claim(block, execution, there) for block in blocks]
    claims = [claim for claim, _ in found]
    placed = []
    for indices in waves(claims, _room(there, execution.memory_margin or 0.0), limit):
        why = found[indices[0]][1] or "it does not fit beside another one" if len(indices) == 1 else None
        members = tuple(blocks[index] for index in indices)
        needs = summed([claims[index] for index in indices])
        placed.append(Wave(blocks=members, needs=needs, alone_because=why))
    return tuple(placed)


def _one_at_a_time(execution: Execution, n_blocks: int) -> str | None:
    """Return why no two models can be held together, whatever they need; None where some may."""
    if n_blocks == 1:
        return "it is the only one"
    if execution.deadline is not None:
        return "against a deadline the models take turns"
    if execution.parallel_models == 1:
        return "execution.parallel_models is 1"
    if execution.memory_margin is None:
        return "execution.memory_margin is null, so that nothing is estimated"
    return None


def _claim(block: ModelBlock, execution: Execution, free: Sequence[FreeMemory]) -> tuple[Claim, str | None]:
    """Return what a block takes, and why that is not known or it had better go alone."""
    rung = block.held
    engine, is_auto = rung.model.engine, execution.parallel_models == "auto"
    # The state file of an engine is named after its model, those on the ladder included.
    names = frozenset(f"model {low.model.name}" for low in block.ladder.rungs)
    if execution.request_cache and rung.model.weights_identity is not None:
        names |= {rung.model.weights_identity}  # what one has answered the other need not be asked
    if engine is EngineKind.OPENAI_COMPATIBLE:
        # A server that holds one model at a time would load them in turn, request by request.
        address = {rung.model.endpoint.base_url} if is_auto and rung.model.endpoint else set()
        return Claim(needs={}, only_one=names | address), None
    alone = Claim(needs=None, only_one=names)
    if engine is EngineKind.TRANSFORMERS and execution.max_concurrent_requests is None:
        return alone, "its batches take what memory is left; execution.max_concurrent_requests bounds them"
    slots = rung.slots if engine is EngineKind.LLAMA_CPP else held_at_once(rung.model, execution)
    found = model_fit(
        rung.model,
        slots,
        rung.context_tokens,
        rung.carried_out(execution),
        free,
        execution.memory_margin or 0.0,
    )
    if found.estimate is None or found.unknown_because is not None:
        return alone, found.unknown_because
    if is_auto and not found.estimate.on(Place.DEVICE):
        return (
            alone,
            "they are not on a GPU, and two models on the same cores are no faster than one after the other",
        )
    needs = {place.value: found.estimate.on(place) or 0 for place in Place}
    return Claim(needs=needs, only_one=names), None if found.fit.fits else found.fit.why


def _room(free: Sequence[FreeMemory], margin: float) -> dict[str, int]:
    """Return what may be taken in each kind of memory: of several GPUs of the one with the most room, as `fits`."""
    return {
        place.value: int(max(known) * (1 - margin))
        for place in Place
        if (known := [m.free_bytes for m in free if m.place is place and m.free_bytes is not None])
    }
