"""How far two rules agree on which answers are right."""

from dataclasses import dataclass
from itertools import combinations

from overnight.uncertainty.table import ItemTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two labels on the items that have both."""

    one: str
    other: str
    n_both_right: int
    n_only_one: int  # right by the first, wrong by the second
    n_only_other: int
    n_both_wrong: int
    kappa: float | None  # Cohen's, in [-1, 1]: 0 is what chance gives
    kappa_undefined_because: str | None = None

    @property
    def n(self) -> int:
        """Items that have both labels."""
        return self.n_both_right + self.n_only_one + self.n_only_other + self.n_both_wrong

    @property
    def raw(self) -> float | None:
        """Share of items on which they agree, in [0, 1]; None without items."""
        return (self.n_both_right + self.n_both_wrong) / self.n if self.n else None


def agreement(labels: ItemTable, one: str, other: str) -> Agreement:
    """Return how far two labels agree, on the items that have both.

    Raises:
        KeyError: there is no such label.

    Source:
        Cohen (1960), Educ Psychol Meas 20:37-46; ``sklearn.metrics.cohen_kappa_score``.
    """
    items = labels.common_items([one, other])
    pairs = list(zip(labels.values(one, items), labels.values(other, items), strict=True))
    kappa, why = _kappa(pairs)
    return Agreement(
        one=one,
        other=other,
        n_both_right=pairs.count((1.0, 1.0)),
        n_only_one=pairs.count((1.0, 0.0)),
        n_only_other=pairs.count((0.0, 1.0)),
        n_both_wrong=pairs.count((0.0, 0.0)),
        kappa=kappa,
        kappa_undefined_because=why,
    )


def agreements(labels: ItemTable) -> tuple[Agreement, ...]:
    """Return every pair of labels, in the order of the columns."""
    return tuple(agreement(labels, one, other) for one, other in combinations(labels.names, 2))


def _kappa(pairs: list[tuple[float, float]]) -> tuple[float | None, str | None]:
    if not pairs:
        return None, "no item has both labels"
    if len({value for pair in pairs for value in pair}) == 1:
        return None, "both labels are the same for every item: chance alone would agree as well"
    # A second to import: only who asks for it waits for it.
    from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415

    one, other = zip(*pairs, strict=True)
    return float(cohen_kappa_score(one, other)), None
