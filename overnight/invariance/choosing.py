"""Which draws of a trial are asked again."""

import hashlib
import heapq
import math
from collections.abc import Iterable

from overnight.spec.audit import AuditSettings


def n_chosen(n: int, settings: AuditSettings) -> int:
    """Return how many of ``n`` draws are asked again: the share, rounded up, within the limits."""
    if not settings.share:
        return 0
    return min(n, settings.at_most, max(settings.at_least, math.ceil(settings.share * n)))


def chosen(draws: Iterable[str], settings: AuditSettings, seed: int) -> tuple[list[str], int]:
    """Return the custom ids of the draws to ask again, in a random order, and how many there were to choose from.

    Each draw has a rank of its own, the SHA-256 of the seed and its custom id, and those of the lowest ranks are
    chosen: the choice depends neither on the order of the draws nor on how often it is made, and of more draws it
    keeps those of fewer, but for what the limits push out.

    Args:
        draws: custom ids, each once; they are passed through and not kept.
        settings: how many.
        seed: of the trial.
    """
    n = 0

    def ranked() -> Iterable[tuple[bytes, str]]:
        nonlocal n
        for draw in draws:
            n += 1
            yield _rank(draw, seed), draw

    lowest = heapq.nsmallest(settings.at_most, ranked())
    return [draw for _, draw in lowest[: n_chosen(n, settings)]], n


def _rank(draw: str, seed: int) -> bytes:
    return hashlib.sha256(f"audit|{seed}|{draw}".encode("utf-8", "surrogatepass")).digest()
