"""What is said about one trial."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from overnight.stats.auroc_difference import AurocDifference
from overnight.stats.discrimination import discriminate
from overnight.stats.error_examples import Example, error_examples
from overnight.stats.exact_rate import exact_interval
from overnight.stats.length_control import LengthControl, control_for_length
from overnight.stats.multiplicity import Adjusted
from overnight.uncertainty.analysis import (
    AnalysisSettings,
    CorrelationResult,
    ErrorRow,
    LabelResult,
    MeasuredTrial,
    MeasureResult,
    TrialResult,
)
from overnight.uncertainty.calibrations import PROBABILITIES, calibration
from overnight.uncertainty.curves import risk_over_coverage, roc
from overnight.uncertainty.judged import Judged, judged, spread
from overnight.uncertainty.label_agreement import agreements

Lengths = Mapping[str, tuple[LengthControl, Adjusted]]


def trial_result(
    trial: MeasuredTrial,
    judgements: Sequence[tuple[Judged, tuple[AurocDifference, ...], Lengths]],
    *,
    correlations: tuple[CorrelationResult, ...],
    measure: str,
    label: str,
    settings: AnalysisSettings,
) -> TrialResult:
    """Put together what is known of a trial.

    Args:
        trial: as it was measured.
        judgements: by label, with what was adjusted over the whole run.
        correlations: likewise.
        measure: by which surprising answers are chosen.
        label: likewise.
        settings: of intervals and numbers of examples.
    """
    wrong, right = _errors(trial, measure, label, settings)
    return TrialResult(
        slug=trial.slug,
        model=trial.model,
        dataset=trial.dataset,
        n_items=len(trial.measures.item_keys),
        labels=tuple(_label_result(*one, settings) for one in judgements),
        correlations=correlations,
        agreements=agreements(trial.labels),
        most_certain_wrong=wrong,
        least_certain_right=right,
    )


def length_control(one: Judged, settings: AnalysisSettings) -> dict[str, LengthControl]:
    """Return, by measure, how it does beside the length of the answer."""
    return {
        name: control_for_length(
            items,
            one.trial.lengths,
            n_strata=settings.n_strata,
            confidence=settings.confidence,
            limits=settings.limits,
        )
        for name, items in one.common.items()
    }


def _label_result(
    one: Judged, differences: tuple[AurocDifference, ...], lengths: Lengths, settings: AnalysisSettings
) -> LabelResult:
    values = list(one.is_right.values())
    n_right, n_wrong = values.count(True), values.count(False)
    n_labelled = n_right + n_wrong
    bounds = exact_interval(n_right, n_labelled, settings.confidence)
    return LabelResult(
        label=one.label,
        n_right=n_right,
        n_wrong=n_wrong,
        n_without_label=len(values) - n_labelled,
        accuracy=n_right / n_labelled if n_labelled else None,
        accuracy_low=bounds[0] if bounds else None,
        accuracy_high=bounds[1] if bounds else None,
        n_common=one.n_common,
        n_passages=one.n_passages,
        measures=tuple(_measure_result(one, name, *lengths[name], settings) for name in one.common),
        calibrations=tuple(
            calibration(name, one.common[name], n_bins=settings.n_bins)
            for name in PROBABILITIES
            if name in one.common
        ),
        differences=differences,
    )


def _measure_result(
    one: Judged, name: str, length: LengthControl, length_p: Adjusted, settings: AnalysisSettings
) -> MeasureResult:
    items, own = one.common[name], one.own[name]
    found = discriminate(
        items,
        measure=name,
        label=one.label,
        seed=settings.seed,
        n_resamples=settings.n_resamples,
        confidence=settings.confidence,
        limits=settings.limits,
    )
    is_sound = found.ranking is not None
    return MeasureResult(
        measure=name,
        spread=spread(one.trial.measures.column(name)),
        # What a measure lacks is counted before it is cut down to the common items.
        discrimination=replace(
            found, n_without_score=own.n_without_score, n_without_label=own.n_without_label
        ),
        roc=roc(items) if is_sound else None,
        risk_coverage=risk_over_coverage(items) if is_sound else None,
        length=length,
        length_p=length_p,
    )


def _errors(
    trial: MeasuredTrial, measure: str, label: str, settings: AnalysisSettings
) -> tuple[tuple[ErrorRow, ...], tuple[ErrorRow, ...]]:
    if measure not in trial.measures.names or label not in trial.labels.names:
        return (), ()
    found = error_examples(judged(trial, label, settings.limits).own[measure], n_each=settings.n_examples)
    return _rows(trial, found.most_certain_wrong), _rows(trial, found.least_certain_right)


def _rows(trial: MeasuredTrial, examples: Sequence[Example]) -> tuple[ErrorRow, ...]:
    return tuple(ErrorRow(example=one, text=trial.texts.get(one.key)) for one in examples)
