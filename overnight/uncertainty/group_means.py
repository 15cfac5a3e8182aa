"""Mean areas of some cells of a grid, with an interval that knows which of them share items."""

from collections.abc import Sequence

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.stats.auroc_resamples import paired_aurocs
from overnight.stats.degeneracy import degeneracy, require_sound
from overnight.stats.delong import placements
from overnight.stats.model_cells import Cell, Factor, level, place
from overnight.stats.pairs import FloatArray
from overnight.stats.ranking import percentile_interval
from overnight.stats.rng import stream
from overnight.stats.scored_items import ScoredItems
from overnight.uncertainty.analysis import AnalysisSettings, GroupMean

OF_MEASURE = "measure"


def group_means(
    cells: Sequence[Cell], measure: str, label: str, settings: AnalysisSettings
) -> list[GroupMean]:
    """Return the mean AUROC of each level of each factor, and of each measure over all cells.

    Args:
        cells: of a whole run.
        measure: by which levels of factors are judged.
        label: by which everything here is judged.
        settings: of the resampling.
    """
    by_label = [cell for cell in cells if cell.label == label]
    shown = [cell for cell in by_label if cell.measure == measure]
    means = []
    for factor in Factor:
        levels: dict[str, list[Cell]] = {}
        for cell in sorted(shown, key=lambda one: place(factor, one)):
            levels.setdefault(level(factor, cell), []).append(cell)
        means += [_mean(str(factor), name, group, settings) for name, group in levels.items()]
    of_measure: dict[str, list[Cell]] = {}
    for cell in by_label:
        of_measure.setdefault(cell.measure, []).append(cell)
    return means + [_mean(OF_MEASURE, name, group, settings) for name, group in of_measure.items()]


def _mean(group: str, name: str, cells: Sequence[Cell], settings: AnalysisSettings) -> GroupMean:
    sound = [cell for cell in cells if degeneracy(cell.items, settings.limits) is None]
    mean, low, high, why = None, None, None, None
    aurocs: tuple[float, ...] = ()
    try:
        by_dataset = _on_shared_items(sound, settings)
        aurocs = tuple(_auroc(items) for members in by_dataset.values() for items in members)
        rng = stream(settings.seed, "mean AUROC", group, name, cells[0].measure, cells[0].label)
        interval = percentile_interval(_resampled(by_dataset, settings, rng), settings.confidence)
        mean, low, high = float(np.mean(aurocs)), interval.low, interval.high
        why = None if low is not None else "too many resamples have one class only"
    except UndefinedMetricError as reason:
        why = str(reason)
    return GroupMean(
        group=group,
        level=name,
        measure=cells[0].measure,
        label=cells[0].label,
        n_cells=len(aurocs),
        n_degenerate=len(cells) - len(sound),
        aurocs=aurocs,
        mean=mean,
        low=low,
        high=high,
        undefined_because=why,
    )


def _on_shared_items(cells: Sequence[Cell], settings: AnalysisSettings) -> dict[str, list[ScoredItems]]:
    """Return the cells of each data set, cut down to the items that all of them have.

    Raises:
        UndefinedMetricError: there are no cells, or one cannot be judged on these items.
    """
    if not cells:
        raise UndefinedMetricError("no cell can be judged")
    by_dataset: dict[str, list[ScoredItems]] = {}
    for cell in cells:
        by_dataset.setdefault(cell.dataset, []).append(cell.items)
    shared = {}
    for dataset, group in by_dataset.items():
        keys = frozenset.intersection(*(frozenset(items.keys) for items in group))
        shared[dataset] = [items.only(keys) for items in group]
        for items in shared[dataset]:
            require_sound(items, settings.limits)
    return shared


def _resampled(
    by_dataset: dict[str, list[ScoredItems]], settings: AnalysisSettings, rng: np.random.Generator
) -> FloatArray:
    """Return ``[R]`` means: items of a data set are drawn for all its cells together, data sets apart."""
    areas = [paired_aurocs(group, n_resamples=settings.n_resamples, rng=rng) for group in by_dataset.values()]
    mean: FloatArray = np.concatenate(areas).mean(axis=0)
    return mean


def _auroc(items: ScoredItems) -> float:
    return placements(items.uncertainty, items.is_wrong).auroc
