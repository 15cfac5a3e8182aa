"""What a model needs, part by part: the values, and what all engines have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from overnight.memory.facts import LayerFacts

MIB = 1 << 20


class Place(StrEnum):
    """Which memory a part takes."""

    HOST = "host"
    DEVICE = "device"  # of the GPU; on Apple's chips it is the host's, under a limit of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPart:
    """One thing that takes memory."""

    name: str
    n_bytes: int
    place: Place = Place.HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """What a model needs while it answers, at its peak.

    Where an architecture keeps something else than keys and values, nothing is guessed: there are the weights, no
    total, and the reason.
    """

    engine: str
    settings: Mapping[str, Any]
    parts: tuple[MemoryPart, ...]
    undefined_because: str | None = None
    notes: tuple[str, ...] = ()
    is_measured: bool = False  # corrected by peaks that were measured here
    interval: tuple[int, int] | None = None  # of the total, bytes; from the measurements, where there are any

    @property
    def total(self) -> int | None:
        """Bytes in all, over host and device; None where they cannot be computed."""
        return None if self.undefined_because else sum(part.n_bytes for part in self.parts)

    def on(self, place: Place) -> int | None:
        """Return the bytes in one kind of memory; None where they cannot be computed."""
        if self.undefined_because:
            return None
        return sum(part.n_bytes for part in self.parts if part.place is place)

    def part(self, name: str) -> int:
        """Return the bytes of everything of this name; 0 where there is nothing."""
        return sum(part.n_bytes for part in self.parts if part.name == name)

    def as_row(self) -> dict[str, Any]:
        """Return the estimate as it stands in ``plan.json``; bytes."""
        return {
            "engine": self.engine,
            "settings": dict(self.settings),
            "total_bytes": self.total,
            "host_bytes": self.on(Place.HOST),
            "device_bytes": self.on(Place.DEVICE),
            "parts": [
                {"name": part.name, "bytes": part.n_bytes, "place": part.place.value} for part in self.parts
            ],
            "is_measured": self.is_measured,
            "interval_bytes": None if self.interval is None else list(self.interval),
            "undefined_because": self.undefined_because,
            "notes": list(self.notes),
        }


# Bytes of a block and the elements in it, of the types that llama.cpp keeps keys and values in (ggml-common.h).
_KV_BLOCKS = {
    "f32": (4, 1),
    "f16": (2, 1),
    "bf16": (2, 1),
    "q8_0": (34, 32),
    "q5_1": (24, 32),
    "q5_0": (22, 32),
    "q4_1": (20, 32),
    "q4_0": (18, 32),
    "iq4_nl": (18, 32),
}
KV_TYPES = tuple(_KV_BLOCKS)


def kv_bytes(n_elements: int, kv_type: str) -> int:
    """Return the bytes of keys or values.

    Args:
        n_elements: a whole number of rows; a row of a quantised type is padded to whole blocks by the caller's sizes.
        kv_type: one of ``KV_TYPES``.
    """
    n_bytes, n_in_block = _KV_BLOCKS[kv_type]
    return -(-n_elements // n_in_block) * n_bytes


def kv_cache_bytes(
    layers: Sequence[LayerFacts], tokens: int, *, sliding_tokens: int | None = None, kv_type: str = "f16"
) -> int:
    """Return the bytes of the keys and values of one sequence.

    The sum over layers of kv_heads x (k_dim + v_dim) x tokens x bytes of an element. It is the published size of
    grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245): query heads do not count.

    Args:
        layers: that keep them.
        tokens: that layers which see everything keep.
        sliding_tokens: that layers with a window keep; None for as many as the others.
        kv_type: what keys and values are kept in.
    """
    kept = tokens if sliding_tokens is None else min(tokens, sliding_tokens)
    return sum(
        kv_bytes(layer.elements_per_token * (kept if layer.is_sliding else tokens), kv_type)
        for layer in layers
    )


def padded(n: int, to: int) -> int:
    """Return the next multiple."""
    return -(-n // to) * to
