"""Memory, swap, and what a container allows of them."""

from typing import NamedTuple

import psutil

from overnight.diagnosis.machine.check import Check, Surroundings, note, ok, problem
from overnight.diagnosis.rules.common import GIB, amount
from overnight.diagnosis.rules.machine import LOW_RAM_BYTES, LOW_RAM_SHARE
from overnight.telemetry.cgroups import read_limits

TOO_LITTLE_BYTES = GIB  # ours: Python, the flow and the smallest model need about as much
SWAPPED_SHARE = 0.5  # ours: of the swap there is


class Memory(NamedTuple):
    """Bytes of memory."""

    total: int
    available: int
    swap_total: int
    swap_used: int
    limit: int | None = None  # of the container
    used_of_limit: int | None = None


def check_memory(around: Surroundings) -> list[Check]:
    """Say how much memory there is, and how much of it is free."""
    del around
    ram, swap, limits = psutil.virtual_memory(), psutil.swap_memory(), read_limits()
    return [
        judge_memory(
            Memory(
                ram.total, ram.available, swap.total, swap.used, limits.memory_bytes, limits.memory_used_bytes
            )
        )
    ]


def judge_memory(memory: Memory) -> Check:
    """Judge what is free: the machine's, or what is left of the container's, whichever is less."""
    total, free = memory.total, memory.available
    text = f"{amount(free, 'bytes')} of {amount(total, 'bytes')} available"
    if memory.limit is not None and memory.limit < total:
        left = max(0, memory.limit - (memory.used_of_limit or 0))
        text += (
            f"; the container may use {amount(memory.limit, 'bytes')}, {amount(left, 'bytes')} of it are left"
        )
        total, free = memory.limit, min(free, left)
    swap = f"{amount(memory.swap_used, 'bytes')} of {amount(memory.swap_total, 'bytes')} swap used"
    text = f"{text}; {swap if memory.swap_total else 'no swap'}"
    values = memory._asdict()
    if free < TOO_LITTLE_BYTES:
        return problem("memory", text, "end other programs: no model fits into what is left", **values)
    if free < max(LOW_RAM_BYTES, LOW_RAM_SHARE * total):
        return note("memory", text, "end other programs, or take a smaller model", **values)
    if memory.swap_total and memory.swap_used > SWAPPED_SHARE * memory.swap_total:
        return note("memory", text, "programs were swapped out: memory was short not long ago", **values)
    return ok("memory", text, **values)
