"""The best of many measures, without fooling oneself.

The largest of 43 areas on the same items is large by chance too. Here the measure is chosen on one half of the
items and judged on the other; and over all items each gain is compared with the largest gain that chance gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from overnight.errors import UndefinedMetricError
from overnight.stats.rng import stream
from overnight.uncertainty.table import ItemTable

MIN_PER_CLASS: Final = 5  # in each half
MAX_MISSING: Final = 0.05  # share of the items that one measure may cost all the others
_TIE: Final = 1e-12

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One measure against the baseline, over all common items."""

    name: str
    auroc: float  # of telling wrong answers from right ones
    gain: float  # AUROC less that of the baseline
    p_max: float  # one-sided, adjusted for having looked at all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The measure that was chosen on one half of the items, and what it is worth on the other."""

    baseline: str
    chosen: str
    n_labelled: int  # items with a label and a value of the baseline; the others below share what all have
    n_chosen_on: int
    n_judged_on: int
    chosen_auroc_seen: float  # on the half on which it was chosen: too good by selection
    chosen_auroc: float  # on the other half
    baseline_auroc: float  # on the other half
    candidates: tuple[Candidate, ...]
    left_out: dict[str, str]  # measures that would have cost too many items, and why


def select(
    table: ItemTable,
    is_right: Mapping[str, bool],
    *,
    baseline: str,
    seed: int,
    n_permutations: int = 999,
) -> Selection:
    """Choose the measure with the largest AUROC on half of the items, and judge it on the other half.

    All measures see the same items: those that have a label and a value of each measure. A measure that lacks
    more than 5 % of the labelled items is left out instead, by name. Halves are drawn among right and wrong items
    apart; they depend on the seed and the item keys, not on the order of the rows.

    Under the null hypothesis that a measure tells wrong from right no better than the baseline, the ranks that the
    two give to an item may be exchanged. One toss of coins exchanges them for all measures at once, and ``p_max``
    is the share of tosses, the observed one among them, whose largest gain reaches that of the measure.

    Raises:
        UndefinedMetricError: a half has fewer than 5 right or 5 wrong items, or no measure is left.
        KeyError: there is no such baseline.
        ValueError: ``n_permutations`` is below 1.

    Source:
        Bandos, Rockette, Gur (2005), Stat Med 24:2873-2893, for exchanging ranks; Westfall & Young (1993) for the
        maximum; Phipson & Smyth (2010), Stat Appl Genet Mol Biol 9:39, for the + 1.
    """
    if n_permutations < 1:
        raise ValueError(f"n_permutations={n_permutations}; want at least 1")
    labelled = [key for key in table.common_items([baseline]) if key in is_right]
    names, left_out = _eligible(table, labelled, baseline)
    keys = sorted(key for key in table.common_items([baseline, *names]) if key in is_right)
    wrong = np.array([not is_right[key] for key in keys], dtype=np.bool_)
    values = np.array([table.values(name, keys) for name in (baseline, *names)]).reshape(-1, len(keys))
    if not names:
        raise UndefinedMetricError(f"no measure is left to compare with {baseline}")

    seen = _half(wrong, stream(seed, "weighting", "halves"))
    on_seen = aurocs(values[1:, seen], wrong[seen])
    on_other = aurocs(values[:, ~seen], wrong[~seen])
    best = int(np.argmax(on_seen))
    everywhere = aurocs(values, wrong)
    gains = everywhere[1:] - everywhere[0]
    p_values = _max_p_values(values, wrong, gains, n_permutations, stream(seed, "weighting", "permutation"))
    return Selection(
        baseline=baseline,
        chosen=names[best],
        n_labelled=len(labelled),
        n_chosen_on=int(seen.sum()),
        n_judged_on=int((~seen).sum()),
        chosen_auroc_seen=float(on_seen[best]),
        chosen_auroc=float(on_other[1 + best]),
        baseline_auroc=float(on_other[0]),
        candidates=tuple(
            Candidate(name=name, auroc=float(auroc), gain=float(gain), p_max=float(p_value))
            for name, auroc, gain, p_value in zip(names, everywhere[1:], gains, p_values, strict=True)
        ),
        left_out=left_out,
    )


def aurocs(values: Floats, is_wrong: Bools) -> Floats:
    """Return ``[n_rows]`` areas: how often a wrong answer has the higher value than a right one, a tie half.

    Args:
        values: ``[n_rows, n_items]``, a row a measure; higher means less certain.
        is_wrong: ``[n_items]``, both kinds among them.
    """
    n_wrong = int(is_wrong.sum())
    sums = stats.rankdata(values, axis=1)[:, is_wrong].sum(axis=1)
    return np.asarray((sums - n_wrong * (n_wrong + 1) / 2) / (n_wrong * (len(is_wrong) - n_wrong)))


def _eligible(table: ItemTable, labelled: Sequence[str], baseline: str) -> tuple[list[str], dict[str, str]]:
    names: list[str] = []
    left_out: dict[str, str] = {}
    for name in table.names:
        n_missing = len(labelled) - len(set(table.common_items([name])) & set(labelled))
        if n_missing > MAX_MISSING * len(labelled):
            left_out[name] = f"no value for {n_missing} of {len(labelled)} items"
        elif name != baseline:
            names.append(name)
    return names, left_out


def _half(wrong: Bools, rng: np.random.Generator) -> Bools:
    """Return ``[n_items]``: True for one half of the wrong and of the right items."""
    seen = np.zeros(len(wrong), dtype=np.bool_)
    for kind, name in ((wrong, "wrong"), (~wrong, "right")):
        places = rng.permutation(np.flatnonzero(kind))
        if len(places) < 2 * MIN_PER_CLASS:
            raise UndefinedMetricError(
                f"{len(places)} {name} answers; two halves want {2 * MIN_PER_CLASS} of each kind"
            )
        seen[places[: len(places) // 2]] = True
    return seen


def _max_p_values(
    values: Floats, wrong: Bools, gains: Floats, n_permutations: int, rng: np.random.Generator
) -> Floats:
    """Return ``[n_measures]`` one-sided p-values, the first row of the values being the baseline."""
    ranks = stats.rankdata(values, axis=1)  # exchanged values have to be of one scale
    n_as_large = np.ones(len(gains))
    for _ in range(n_permutations):
        swaps = rng.random(len(wrong)) < 0.5  # noqa: PLR2004 - a fair coin
        taken = aurocs(np.where(swaps, ranks[:1], ranks[1:]), wrong)
        given = aurocs(np.where(swaps, ranks[1:], ranks[:1]), wrong)
        n_as_large += (taken - given).max() >= gains - _TIE
    return np.asarray(n_as_large / (n_permutations + 1))
