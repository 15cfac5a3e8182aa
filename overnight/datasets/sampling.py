"""A sample of items that is seeded and stratified, never the first so many."""

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from overnight.records import Item

Stratum = tuple[str, bool]  # a dataset and whether its items are unanswerable


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
    drawing = Drawing(seed=seed, most=n_items)
    for item in items:
        drawing.add(item)
    return drawing.take(n_items)


@dataclass(slots=True)
class Drawing:
    """A sample of items that come one at a time; no more are held than any sample could want.

    Args:
        seed: another seed is another sample.
        most: no sample larger than this is going to be taken; None means that all items may be wanted.
    """

    seed: int
    most: int | None
    sizes: dict[Stratum, int] = field(default_factory=dict)
    _held: dict[Stratum, list[tuple[int, int, Item]]] = field(default_factory=dict)
    _n_added: int = 0

    def add(self, item: Item) -> None:
        """Count an item in, and hold it while its lot is among the best of its stratum."""
        stratum = (item.dataset, item.is_unanswerable)
        self.sizes[stratum] = self.sizes.get(stratum, 0) + 1
        held = self._held.setdefault(stratum, [])
        # A heap of the worst lots first; the order of arrival breaks ties before two items are compared.
        entry = (-_lot(item, self.seed), -self._n_added, item)
        self._n_added += 1
        if self.most is None or len(held) < self.most:
            heapq.heappush(held, entry)
        elif held:
            heapq.heappushpop(held, entry)

    def keep(self, n_items: int | None) -> None:
        """Go on as if only a stratified sample of this many had come; None keeps all.

        A later ``take`` draws from that sample.
        """
        if n_items is not None and n_items < sum(self.sizes.values()):
            self.sizes = largest_remainder(self.sizes, n_items)
            for stratum, quota in self.sizes.items():
                self._held[stratum] = heapq.nlargest(quota, self._held[stratum])
                heapq.heapify(self._held[stratum])

    def take(self, n_items: int | None) -> list[Item]:
        """Return a stratified sample of what came, in the order in which it came; None is all.

        Raises:
            ValueError: more are wanted than ``most``.
        """
        if n_items is None or n_items >= sum(self.sizes.values()):
            return self.take_quotas(self.sizes)
        return self.take_quotas(largest_remainder(self.sizes, n_items))

    def take_quotas(self, quotas: dict[Stratum, int]) -> list[Item]:
        """Return so many items of each stratum, in the order in which they came; strata of others are passed over.

        Raises:
            ValueError: more are wanted of a stratum than are held.
        """
        chosen: list[tuple[int, int, Item]] = []
        for stratum, held in self._held.items():
            quota = quotas.get(stratum, 0)
            if quota > len(held):
                raise ValueError(f"{quota} items of {stratum} are wanted, {len(held)} are held")
            chosen += held if quota == len(held) else heapq.nlargest(quota, held)
        return [item for _, _, item in sorted(chosen, key=lambda entry: -entry[1])]


def _lot(item: Item, seed: int) -> int:
    """Return an item's place in a random order that depends on nothing but its id and the seed."""
    text = f"{seed}|{item.key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest())


def joined_sizes(drawings: Iterable[Drawing]) -> dict[Stratum, int]:
    """Return the sizes of all strata of several datasets."""
    return {stratum: size for drawing in drawings for stratum, size in drawing.sizes.items()}


def largest_remainder(sizes: dict[Stratum, int], total: int) -> dict[Stratum, int]:
    """Return whole shares of a total in proportion to sizes, which add up to it (Hamilton's method)."""
    whole = sum(sizes.values())
    exact = {name: total * size / whole for name, size in sizes.items()}
    quotas = {name: int(share) for name, share in exact.items()}
    left = total - sum(quotas.values())
    by_remainder = sorted(exact, key=lambda name: (quotas[name] - exact[name], name))
    for name in by_remainder[:left]:
        quotas[name] += 1
    return quotas
