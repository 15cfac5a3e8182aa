"""Waves: which model blocks are held at the same time, by what each takes and what there is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a block takes while its model is held."""

    needs: Mapping[str, int] | None
    """Bytes by the kind of memory, those it takes none of left out; None where nobody knows: it goes alone."""
    only_one: frozenset[str] = frozenset()
    """What one block has at a time: two that name the same thing are never held together."""


def waves(claims: Sequence[Claim], room: Mapping[str, int], limit: int) -> tuple[tuple[int, ...], ...]:
    """Return the blocks that are held at the same time, wave by wave, as indices.

    First fit: each block joins the first wave that still has room for it, and begins a new one where none has. So the
    blocks of a wave are in the order of the plan, and so are the first blocks of the waves.

    Args:
        claims: of the blocks, in the order of the plan.
        room: bytes that may be taken, by the kind of memory; a kind that is not named has none.
        limit: blocks in a wave, at most.
    """
    found: list[list[int]] = []
    for index, claim in enumerate(claims):
        joined = next((wave for wave in found if _joins(claim, [claims[i] for i in wave], room, limit)), None)
        if joined is None:
            found.append([index])
        else:
            joined.append(index)
    return tuple(map(tuple, found))


def _joins(claim: Claim, there: Sequence[Claim], room: Mapping[str, int], limit: int) -> bool:
    total = summed([*there, claim])
    return (
        len(there) < limit
        and total is not None
        and all(n_bytes <= room.get(kind, 0) for kind, n_bytes in total.items() if n_bytes)
        and all(claim.only_one.isdisjoint(other.only_one) for other in there)
    )


def summed(claims: Sequence[Claim]) -> dict[str, int] | None:
    """Return what some blocks take together, by the kind of memory; None where it is not known of one."""
    total: dict[str, int] = {}
    for claim in claims:
        if claim.needs is None:
            return None
        for kind, n_bytes in claim.needs.items():
            total[kind] = total.get(kind, 0) + n_bytes
    return total
