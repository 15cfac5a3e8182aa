"""Whether a model fits: what it needs against what is free, with a margin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from overnight.memory.estimate import MemoryEstimate, Place
from overnight.memory.free import FreeMemory

MARGIN = (
    0.08  # share of what is free that is left free: drivers, fragmentation, what the formulas do not know
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a model needs, what there is, and the verdict in words."""

    needed: int | None  # bytes of the memory that decides
    free: int | None  # bytes there, whole
    fits: bool | None  # None where one of them is not known
    why: str

    def as_row(self) -> dict[str, Any]:
        """Return the verdict for a JSON file; bytes."""
        return {"needed_bytes": self.needed, "free_bytes": self.free, "fits": self.fits, "why": self.why}


def fits(estimate: MemoryEstimate, free: Sequence[FreeMemory], margin: float = MARGIN) -> Fit:
    """Return whether a model fits with some room to spare.

    What belongs on a GPU has to fit onto the one with the most room; that it would run on the host as well, many
    times slower, is no fit.

    Args:
        estimate: of the model.
        free: of the host and of every GPU.
        margin: share of the free memory that stays free.
    """
    if estimate.undefined_because:
        return Fit(needed=None, free=None, fits=None, why=estimate.undefined_because)
    verdicts = [
        _on(place, estimate, free, margin) for place in (Place.DEVICE, Place.HOST) if estimate.on(place)
    ]
    for wanted in (False, None):
        for verdict in verdicts:
            if verdict.fits is wanted:
                return verdict
    if not verdicts:
        return Fit(needed=0, free=None, fits=True, why="it takes no memory here")
    return verdicts[0]


def _on(place: Place, estimate: MemoryEstimate, free: Sequence[FreeMemory], margin: float) -> Fit:
    needed = estimate.on(place) or 0
    there = [memory for memory in free if memory.place is place]
    known = [memory for memory in there if memory.free_bytes is not None]
    if not there:
        return Fit(needed=needed, free=0, fits=False, why="no GPU is visible to this process")
    if not known:
        why = f"what {there[0].name} has free is not known: {there[0].absent_because}"
        return Fit(needed=needed, free=None, fits=None, why=why)
    roomiest = max(known, key=lambda memory: memory.free_bytes or 0)
    available = roomiest.free_bytes or 0
    is_enough = needed <= available * (1 - margin)
    why = (
        f"needs {in_words(needed)}, {in_words(available)} are free on {roomiest.name} "
        f"({roomiest.source}), of which {100 * margin:g} % are left free"
    )
    return Fit(needed=needed, free=available, fits=is_enough, why=why)


def in_words(n_bytes: int) -> str:
    """Return bytes as people say them, in the binary units that tools for GPUs show."""
    mib = n_bytes / (1 << 20)
    return f"{mib:,.0f} MiB" if mib < 1 << 10 else f"{mib / (1 << 10):,.1f} GiB"
