"""What an uncertainty sweep says, in words: the best measure of each trial, and what cannot be said."""

from collections import Counter
from collections.abc import Iterator, Sequence

from overnight.report import wording as w
from overnight.report.uncertainty.best import best_measures
from overnight.report.uncertainty.contrast_sheets import turned_round
from overnight.report.uncertainty.findings import is_shown
from overnight.report.uncertainty.naming import (
    area,
    area_interval,
    difference,
    difference_interval,
    label_title,
    listed,
    measure_title,
    q,
)
from overnight.report.uncertainty.results import UncertaintyReport
from overnight.uncertainty.analysis import Analysis, LabelResult, MeasureResult, TrialResult

_CHANCE = 0.5
LENGTH = "n_tokens"  # the control
_MOST_TRIALS = 24  # that are told one by one


def verdict(report: UncertaintyReport) -> str:
    """Return the lead: of how many trials something can be said, and which measure does best over them."""
    analysis = report.analysis
    if analysis is None:
        return f"Nothing was analysed: {report.no_analysis_because}."
    by = f"By {label_title(analysis.label)}"
    sound = [trial for trial in analysis.trials if _best(trial.label(analysis.label))]
    n_trials = w.counted(len(analysis.trials), "trial")
    if not sound:
        return f"{by}, no measure can be judged in any of {n_trials}."
    parts = []
    means = [one for one in best_measures(analysis) if one.level != LENGTH]
    if means:
        first = means[0]
        parts.append(
            f"{by}, {measure_title(first.level)} tells wrong from right answers best on average: mean AUROC "
            f"{area(first.mean)}{_in_brackets(area_interval(first.low, first.high))} over "
            f"{w.counted(first.n_cells, 'trial')}."
        )
    main = [
        found for trial in sound if (found := trial.result(analysis.measure, analysis.label)) and found.auroc
    ]
    above = sum(_low(found) > _CHANCE for found in main)
    if main:
        parts.append(
            f"{measure_title(analysis.measure)} is above chance, with its whole interval, in {above} of "
            f"{w.counted(len(main), 'trial')} in which it can be judged."
        )
    left = len(analysis.trials) - len(sound)
    if left:
        parts.append(f"Of {left} of {n_trials} nothing can be said.")
    unmeasured = len(report.run.trials) - len(analysis.trials)
    if unmeasured:
        parts.append(
            f"{w.counted(unmeasured, 'trial')} of the run {'was' if unmeasured == 1 else 'were'} not measured."
        )
    return " ".join(parts)


def by_trial(report: UncertaintyReport) -> list[str]:
    """Return a sentence a trial: its best measure with the interval, or why there is none."""
    analysis = report.analysis
    if analysis is None:
        return []
    told = [_sentence(analysis, trial) for trial in analysis.trials[:_MOST_TRIALS]]
    left = len(analysis.trials) - len(told)
    return [*told, f"{left} more in the table of models and data sets."] if left > 0 else told


def _sentence(analysis: Analysis, trial: TrialResult) -> str:
    name = f"{trial.model.name} on {trial.dataset}"
    label = trial.label(analysis.label)
    best = _best(label)
    if label is None or best is None:
        return f"{name}: cannot be judged: {listed(_reasons(label))}."
    parts = [f"{name}: {measure_title(best.measure)}, AUROC {area(best.auroc)}{_interval(best)}"]
    if best.measure != analysis.measure:
        parts += _against(label, analysis.measure, best)
    alone = best.length.auroc_length
    if alone is not None and best.auroc is not None and alone >= best.auroc:
        parts.append(f"length alone has {area(alone)}, so nothing here is more than length")
    lost = [one for one in label.measures if one.auroc is None and one.measure != LENGTH]
    if lost:
        parts.append(f"not judged: {listed(_reasons(label, lost))}")
    return "; ".join(parts) + "."


def _against(label: LabelResult, main: str, best: MeasureResult) -> Iterator[str]:
    """Yield by how much the best measure is better than the main one, and whether that is shown."""
    for one in label.differences:
        if {one.first, one.second} == {main, best.measure} and one.difference is not None:
            turned = one if one.first == main else turned_round(one)
            inside = ", ".join(
                part for part in (difference_interval(turned.low, turned.high), q(turned.q_value)) if part
            )
            shown = "shown" if is_shown(turned) else "not shown"
            yield (
                f"{difference(turned.difference)}{_in_brackets(inside)} over {measure_title(main)} "
                f"({area(turned.auroc_first)}): {shown}"
            )


def _best(label: LabelResult | None) -> MeasureResult | None:
    """Return the measure with the highest AUROC; length alone is the control, and none of them."""
    measures = label.measures if label else ()
    sound = [one for one in measures if one.auroc is not None and one.measure != LENGTH]
    return max(sound, key=lambda one: one.auroc or 0.0, default=None)


def _reasons(label: LabelResult | None, found: Sequence[MeasureResult] | None = None) -> list[str]:
    """Return every reason once, with the measures that it holds for where it does not hold for all."""
    if label is None:
        return ["it has no such label"]
    measures = label.measures if found is None else found
    reasons: dict[str, list[str]] = {}
    for one in measures:
        reasons.setdefault(one.discrimination.undefined_because or "", []).append(one.measure)
    if len(reasons) == 1 and found is None:
        return list(reasons)
    return [f"{listed(list(map(measure_title, names)))} ({why})" for why, names in reasons.items()]


def _low(one: MeasureResult) -> float:
    ranking = one.discrimination.ranking
    return ranking.delong.low if ranking and ranking.delong.low is not None else 0.0


def _interval(one: MeasureResult) -> str:
    ranking = one.discrimination.ranking
    return _in_brackets(area_interval(ranking.delong.low, ranking.delong.high)) if ranking else ""


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def kinds(analysis: Analysis) -> str:
    """Return how many results are degenerate, by kind; nothing where none is."""
    found = Counter(one.kind.value.replace("_", " ") for one in analysis.degenerate())
    return listed([f"{kind} ({n})" for kind, n in found.most_common()])
