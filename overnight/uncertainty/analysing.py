"""From measured trials to everything that is said about them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

from overnight.stats.auroc_difference import AurocDifference, adjusted, compare_measures, compare_models
from overnight.stats.cell_tests import cell_tests
from overnight.stats.contrasts import contrasts
from overnight.stats.correlations import correlations
from overnight.stats.model_cells import Cell
from overnight.stats.multiplicity import adjust_all
from overnight.stats.rng import stream
from overnight.uncertainty.analysis import (
    Analysis,
    AnalysisSettings,
    CorrelationResult,
    MeasuredTrial,
    ModelComparison,
)
from overnight.uncertainty.group_means import group_means
from overnight.uncertainty.judged import Judged, by_item, judged
from overnight.uncertainty.trial_results import length_control, trial_result


def analyse(
    trials: Sequence[MeasuredTrial],
    settings: AnalysisSettings | None = None,
    *,
    run_id: str = "",
    experiment: str = "",
    is_dry_run: bool = False,
) -> Analysis:
    """Return the analysis of a run; the order of the rows of a trial does not matter.

    Measures are judged on the items that all sound measures of the trial have. P-values are adjusted once over
    each family of tests: all pairs of measures, all pairs of models, all matched pairs, all pooled contrasts, all
    tests over cells, all correlations, all partial correlations with length. A degenerate result is in none.

    Args:
        trials: one a model and data set.
        settings: the default ones where None.
        run_id: of the run.
        experiment: its name.
        is_dry_run: whether answers are synthetic.

    Raises:
        ValueError: there are no trials or labels, or two are of one model and data set.
    """
    settings = settings or AnalysisSettings()
    _require_a_grid(trials)
    measures = _union(trial.measures.names for trial in trials)
    labels = _union(trial.labels.names for trial in trials)
    if not measures or not labels:
        raise ValueError(f"{len(measures)} measures and {len(labels)} labels; an analysis takes one of each")
    measure = settings.measure if settings.measure in measures else measures[0]
    label = settings.label if settings.label in labels else labels[0]

    judgements = [[judged(trial, name, settings.limits) for name in trial.labels.names] for trial in trials]
    everything = [one for group in judgements for one in group]
    differences = _regrouped(
        [
            compare_measures(one.common, confidence=settings.confidence, limits=settings.limits)
            for one in everything
        ]
    )
    lengths = [length_control(one, settings) for one in everything]
    length_p = iter(
        adjust_all([one.partial.p_value if one.partial else None for by in lengths for one in by.values()])
    )
    adjusted_lengths = [{name: (one, next(length_p)) for name, one in by.items()} for by in lengths]
    ranked = _correlations(trials)

    cells = [
        Cell(model=one.trial.model, dataset=one.trial.dataset, measure=name, label=one.label, items=items)
        for one in everything
        for name, items in one.common.items()
    ]
    place = iter(range(len(everything)))
    return Analysis(
        run_id=run_id,
        experiment=experiment,
        is_dry_run=is_dry_run,
        settings=settings,
        measure=measure,
        label=label,
        measures=measures,
        labels=labels,
        trials=tuple(
            trial_result(
                trial,
                [(one, differences[at := next(place)], adjusted_lengths[at]) for one in group],
                correlations=found,
                measure=measure,
                label=label,
                settings=settings,
            )
            for trial, group, found in zip(trials, judgements, ranked, strict=True)
        ),
        models=_model_comparisons([one for one in everything if one.label == label], settings),
        contrasts=contrasts(
            cells,
            seed=settings.seed,
            n_resamples=settings.n_resamples,
            confidence=settings.confidence,
            limits=settings.limits,
        ),
        cell_tests=tuple(cell_tests(cells, confidence=settings.confidence, limits=settings.limits)),
        means=tuple(group_means(cells, measure, label, settings)),
    )


def _require_a_grid(trials: Sequence[MeasuredTrial]) -> None:
    if not trials:
        raise ValueError("no trials: there is nothing to analyse")
    cells = Counter((trial.model.name, trial.dataset) for trial in trials)
    (cell, n), *_ = cells.most_common(1)
    if n > 1:
        raise ValueError(f"{n} trials are of {cell[0]} on {cell[1]}; a cell of the grid is one trial")


def _union(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in groups for name in names))


def _regrouped(groups: Sequence[list[AurocDifference]]) -> list[tuple[AurocDifference, ...]]:
    """Return the tests in the groups they came in, adjusted over all of them."""
    tests = iter(adjusted([test for group in groups for test in group]))
    return [tuple(next(tests) for _ in group) for group in groups]


def _correlations(trials: Sequence[MeasuredTrial]) -> list[tuple[CorrelationResult, ...]]:
    found = [
        correlations({name: by_item(trial.measures, name) for name in trial.measures.names})
        for trial in trials
    ]
    q_values = iter(adjust_all([one.p_value for group in found for one in group]))
    return [
        tuple(CorrelationResult(correlation=one, adjusted=next(q_values)) for one in group) for group in found
    ]


def _model_comparisons(by_label: Sequence[Judged], settings: AnalysisSettings) -> tuple[ModelComparison, ...]:
    """Return every two models on one data set, measure by measure."""
    pairs = [
        (first, second, measure)
        for first, second in combinations(by_label, 2)
        if first.trial.dataset == second.trial.dataset
        for measure in first.common
        if measure in second.common
    ]
    tests = adjusted([_compared(*pair, settings) for pair in pairs])
    return tuple(
        ModelComparison(dataset=first.trial.dataset, measure=measure, label=first.label, difference=test)
        for (first, _, measure), test in zip(pairs, tests, strict=True)
    )


def _compared(first: Judged, second: Judged, measure: str, settings: AnalysisSettings) -> AurocDifference:
    names = first.trial.model.name, second.trial.model.name
    return compare_models(
        (names[0], first.common[measure]),
        (names[1], second.common[measure]),
        rng=stream(settings.seed, "two models", first.trial.dataset, measure, first.label, *names),
        n_resamples=settings.n_resamples,
        confidence=settings.confidence,
        limits=settings.limits,
    )
