"""A sample of items that is seeded and stratified, never the first so many."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from overnight.records import Item


def stratified_sample(items: Sequence[Item], n_items: int | None, seed: int) -> list[Item]:
    """Return ``n_items`` of the items in their old order, the same share of every stratum.

    A stratum is a dataset x answerability. Shares are rounded by largest remainder, so that the sample has
    exactly ``min(n_items, len(items))`` items. Which items of a stratum are taken depends on the seed and on
    their ids alone: a larger sample contains the smaller one of its stratum, and adding a dataset changes no
    other stratum's choice.

    Args:
        items: all there are.
        n_items: how many to keep over all strata; None keeps all, 0 keeps none.
        seed: another seed is another sample.
    """
    if n_items is None or n_items >= len(items):
        return list(items)
    strata: dict[tuple[str, bool], list[Item]] = defaultdict(list)
    for item in items:
        strata[item.dataset, item.is_unanswerable].append(item)
    quotas = _largest_remainder({name: len(members) for name, members in strata.items()}, n_items)
    kept = {
        item.key
        for name, members in strata.items()
        for item in sorted(members, key=lambda item: _lot(item, seed))[: quotas[name]]
    }
    return [item for item in items if item.key in kept]


def _lot(item: Item, seed: int) -> bytes:
    """Return an item's place in a random order that depends on nothing but its id and the seed."""
    return hashlib.sha256(f"{seed}|{item.key}".encode("utf-8", "surrogatepass")).digest()


def _largest_remainder(sizes: dict[tuple[str, bool], int], total: int) -> dict[tuple[str, bool], int]:
    whole = sum(sizes.values())
    exact = {name: total * size / whole for name, size in sizes.items()}
    quotas = {name: int(share) for name, share in exact.items()}
    left = total - sum(quotas.values())
    by_remainder = sorted(exact, key=lambda name: (quotas[name] - exact[name], name))
    for name in by_remainder[:left]:
        quotas[name] += 1
    return quotas
