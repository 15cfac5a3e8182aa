"""Tests that take each cell's AUROC as one number: analysis of variance, Welch's t tests, a line over size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from overnight.stats.degeneracy import DEFAULT_LIMITS, Limits, degeneracy
from overnight.stats.delong import placements
from overnight.stats.model_cells import Cell, Factor, level, place
from overnight.stats.multiplicity import adjust_all

ASSUMPTIONS = (
    "These tests take every cell as one independent number, normal around the mean of its level, and the analysis "
    "of variance takes equal variances too. Cells of one data set share items, cells of one model share weights, "
    "and levels differ in other things as well, so their p-values describe this grid and are no evidence of a cause; "
    "the matched contrasts are."
)
_TWO = 2  # cells of a level, for a variance


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTest:
    """One test over cells; see `ASSUMPTIONS`."""

    test: str
    factor: Factor
    levels: tuple[str, ...]
    measure: str
    label: str
    n_cells: tuple[int, ...]  # sound cells of each level, for a line of all
    estimate: float | None = (
        None  # second mean - first, or slope per tenfold parameters; none of a variance ratio
    )
    low: float | None = None
    high: float | None = None
    statistic: float | None = None  # F, or t
    p_value: float | None = None
    q_value: float | None = None  # Benjamini-Hochberg over all these tests
    q_value_by: float | None = None
    p_holm: float | None = None
    undefined_because: str | None = None


def cell_tests(
    cells: Sequence[Cell], *, confidence: float = 0.95, limits: Limits = DEFAULT_LIMITS
) -> list[CellTest]:
    """Test every factor over the AUROCs of the sound cells, by measure and label.

    One-way analysis of variance over the levels of a factor, Welch's t test of every two levels, and for size a
    line of AUROC over log10 of the parameters, all adjusted together. A level with one cell is in no test.
    """
    groups: dict[tuple[str, str], list[tuple[Cell, float]]] = {}
    for cell in cells:
        group = groups.setdefault((cell.measure, cell.label), [])
        if degeneracy(cell.items, limits) is None:
            group.append((cell, placements(cell.items.uncertainty, cell.items.is_wrong).auroc))
    tests = [
        test
        for (measure, label), group in groups.items()
        for factor in Factor
        for test in _of_factor(factor, group, measure, label, confidence)
    ]
    return [
        replace(one, q_value=q.q_value, q_value_by=q.q_value_by, p_holm=q.p_holm)
        for one, q in zip(tests, adjust_all([one.p_value for one in tests]), strict=True)
    ]


def _of_factor(
    factor: Factor, group: Sequence[tuple[Cell, float]], measure: str, label: str, confidence: float
) -> list[CellTest]:
    if factor == Factor.SIZE:
        return [_line(group, measure, label, confidence)]
    values: dict[str, list[float]] = {}
    for cell, auroc in sorted(group, key=lambda one: place(factor, one[0])):
        values.setdefault(level(factor, cell), []).append(auroc)
    usable = {name: found for name, found in values.items() if len(found) >= _TWO}
    empty = CellTest(
        test="one-way analysis of variance",
        factor=factor,
        levels=tuple(values),
        measure=measure,
        label=label,
        n_cells=tuple(len(found) for found in values.values()),
    )
    if len(usable) < _TWO:
        why = f"{len(usable)} of {len(values)} levels have at least 2 sound cells; it takes 2 such levels"
        return [replace(empty, undefined_because=why)]
    if all(np.ptp(found) == 0.0 for found in usable.values()):
        return [
            replace(empty, undefined_because="cells of one level do not differ: no scatter to compare with")
        ]
    levels, counts = tuple(usable), tuple(len(found) for found in usable.values())
    variance = stats.f_oneway(*usable.values())
    tests = [
        replace(
            empty,
            levels=levels,
            n_cells=counts,
            statistic=float(variance.statistic),
            p_value=float(variance.pvalue),
        )
    ]
    for first, second in combinations(levels, 2):
        a, b = usable[first], usable[second]
        pairwise = replace(empty, test="Welch's t test", levels=(first, second), n_cells=(len(a), len(b)))
        tests.append(_welch(pairwise, a, b, confidence))
    return tests


def _welch(empty: CellTest, a: list[float], b: list[float], confidence: float) -> CellTest:
    if np.ptp(a) == 0.0 and np.ptp(b) == 0.0:
        return replace(
            empty, undefined_because="cells of one level do not differ: no scatter to compare with"
        )
    found = stats.ttest_ind(b, a, equal_var=False)
    interval = found.confidence_interval(confidence)
    return replace(
        empty,
        estimate=float(np.mean(b) - np.mean(a)),
        low=float(interval.low),
        high=float(interval.high),
        statistic=float(found.statistic),
        p_value=float(found.pvalue),
    )


def _line(group: Sequence[tuple[Cell, float]], measure: str, label: str, confidence: float) -> CellTest:
    sizes = [math.log10(cell.model.parameters) for cell, _ in group]
    aurocs = [auroc for _, auroc in group]
    empty = CellTest(
        test="line over log10 of the parameters",
        factor=Factor.SIZE,
        levels=(),
        measure=measure,
        label=label,
        n_cells=(len(group),),
    )
    df = len(group) - 2
    if df < 1 or np.ptp(sizes) == 0.0 or np.ptp(aurocs) == 0.0:
        why = f"{len(group)} sound cells of {len(set(sizes))} sizes; a line takes 3 that differ"
        return replace(empty, undefined_because=why)
    found = stats.linregress(sizes, aurocs)
    if found.stderr == 0.0:
        return replace(empty, estimate=float(found.slope), undefined_because="the cells lie on one line")
    reach = float(stats.t.ppf((1 + confidence) / 2, df) * found.stderr)
    return replace(
        empty,
        estimate=float(found.slope),
        low=float(found.slope) - reach,
        high=float(found.slope) + reach,
        statistic=float(found.slope / found.stderr),
        p_value=float(found.pvalue),
    )
