"""Parts: the slices of a dataset that are asked one after another, with all arms of an item together."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from overnight.records import Item


@dataclass(frozen=True, slots=True)
class Part:
    """A slice of one dataset; its name is unique within a run."""

    name: str
    items: tuple[Item, ...]

    @property
    def dataset(self) -> str | None:
        """The dataset of all its items; None where there are none."""
        return self.items[0].dataset if self.items else None


def split_parts(
    items: Sequence[Item], *, parts_per_dataset: int, lines_per_part: int | None
) -> tuple[Part, ...]:
    """Return the items in slices.

    Args:
        items: in the order of their datasets.
        parts_per_dataset: how many slices a dataset has (fewer where it has fewer items).
        lines_per_part: items in a slice; wins over ``parts_per_dataset``.
    """
    parts = []
    for dataset, group in groupby(items, key=lambda item: item.dataset):
        members = list(group)
        size = lines_per_part or -(-len(members) // parts_per_dataset)
        parts += [
            Part(f"{dataset}_p{number:02d}", tuple(members[start : start + size]))
            for number, start in enumerate(range(0, len(members), size), start=1)
        ]
    return tuple(parts)
