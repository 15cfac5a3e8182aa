"""What a run found, as questions and answers in a sentence or two; nothing is called shown that is not tested."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from overnight.report.uncertainty.best import best_measures, shown
from overnight.report.uncertainty.naming import (
    QUESTIONS,
    area,
    area_interval,
    difference,
    difference_interval,
    label_title,
    level_title,
    listed,
    measure_title,
    q,
)
from overnight.report.wording import counted
from overnight.stats.auroc_difference import AurocDifference
from overnight.stats.contrasts import ContrastSummary, MatchedPair
from overnight.stats.model_cells import Factor
from overnight.uncertainty.analysis import Analysis

SHOWN_BELOW = 0.05  # q
_CHANCE = 0.5
_MOST_CONTRASTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One question about a run, and what the run says to it."""

    question: str
    answer: str


def findings(analysis: Analysis) -> list[Finding]:
    """Return the findings of a run: whether it works at all, what beats what, the five factors, what to doubt."""
    return [
        _works(analysis),
        _beyond_length(analysis),
        _best_measure(analysis),
        *(
            Finding(question=question, answer=_factor(analysis, factor))
            for factor, question in QUESTIONS.items()
        ),
        *_labels(analysis),
        _degenerate(analysis),
    ]


def _works(analysis: Analysis) -> Finding:
    rankings = [one.ranking for one in shown(analysis)]
    sound = [one for one in rankings if one]
    title, label = measure_title(analysis.measure), label_title(analysis.label)
    if not sound:
        answer = f"{title} by {label} cannot be judged in any of {counted(len(rankings), 'trial')}."
    else:
        above = sum(one.delong.low is not None and one.delong.low > _CHANCE for one in sound)
        below = sum(one.delong.high is not None and one.delong.high < _CHANCE for one in sound)
        lowest, highest = min(one.auroc for one in sound), max(one.auroc for one in sound)
        answer = (
            f"{title} by {label}: AUROC {area(lowest)} to {area(highest)} over {counted(len(sound), 'trial')}; "
            f"its whole interval lies above 0.5 in {above} and below in {below}."
        )
    return Finding(question="Does likelihood tell wrong answers from right ones?", answer=answer)


def _beyond_length(analysis: Analysis) -> Finding:
    found = [one.result for one in shown(analysis) if one.result and one.result.length.partial]
    more = [
        one
        for one in found
        if one.length_p.q_value is not None
        and one.length_p.q_value < SHOWN_BELOW
        and one.length.partial
        and one.length.partial.rho > 0
    ]
    alone = [one.length.auroc_length for one in found if one.length.auroc_length is not None]
    if not alone:
        answer = "Not answered: no trial has lengths and a sound ranking."
    else:
        answer = (
            f"With length held fixed, {measure_title(analysis.measure)} still goes with wrong answers (q < 0.05) in "
            f"{len(more)} of {counted(len(found), 'trial')}. Length alone has AUROC {area(min(alone))} to "
            f"{area(max(alone))}."
        )
    return Finding(question="Is it more than the length of the answer?", answer=answer)


def _best_measure(analysis: Analysis) -> Finding:
    question = "Which measure is best?"
    best = best_measures(analysis)
    if not best:
        return Finding(question=question, answer="No measure can be judged in any trial.")
    first, of_run = best[0], analysis.measure
    answer = (
        f"Highest mean AUROC: {measure_title(first.level)}, {area(first.mean)} "
        f"({area_interval(first.low, first.high)}), over {counted(first.n_cells, 'trial')}."
    )
    if first.level != of_run:
        tests = list(_between(analysis, of_run, first.level))
        better = sum(sign > 0 for sign in tests)
        answer += (
            f" Against {measure_title(of_run)} it is shown to be better (q < 0.05) in {better} and worse in "
            f"{sum(sign < 0 for sign in tests)} of {counted(len(tests), 'trial')}."
        )
    return Finding(question=question, answer=answer)


def _between(analysis: Analysis, first: str, second: str) -> Iterator[float]:
    """Yield, trial by trial, second less first where the difference is shown, and 0 where it is not."""
    for trial in analysis.trials:
        label = trial.label(analysis.label)
        for test in label.differences if label else ():
            if {test.first, test.second} == {first, second} and test.difference is not None:
                sign = 1.0 if test.second == second else -1.0
                yield sign * test.difference if is_shown(test) else 0.0


def _factor(analysis: Analysis, factor: Factor) -> str:
    wanted = (factor, analysis.measure, analysis.label)
    summaries = [
        one for one in analysis.contrasts.summaries if (one.factor, one.measure, one.label) == wanted
    ]
    if not summaries:
        unmatched = [
            one.sentence
            for one in analysis.contrasts.unmatched
            if (one.factor, one.measure, one.label) == wanted
        ]
        return f"Not answered: {unmatched[0]}." if unmatched else "Not answered: no cell can be judged."
    pooled = sorted((one for one in summaries if one.hartung_knapp), key=_by_q)
    if pooled:
        sentences = [_pooled(one, _n_shown(analysis, one)) for one in pooled]
    else:
        pairs = [
            one
            for one in analysis.contrasts.pairs
            if (one.factor, one.measure, one.label) == wanted and one.difference.difference is not None
        ]
        if not pairs:
            return "Not answered: no matched pair has a difference that can be tested."
        sentences = [_pair(one.difference) for one in sorted(pairs, key=_by_q_of_pair)]
    left = len(sentences) - _MOST_CONTRASTS
    rest = [f"{left} more in the table of contrasts."] if left > 0 else []
    return " ".join([*sentences[:_MOST_CONTRASTS], *rest])


def _n_shown(analysis: Analysis, summary: ContrastSummary) -> int:
    """Return how many pairs of a pooled contrast are shown by themselves."""
    wanted = (summary.factor, summary.levels, summary.measure, summary.label)
    return sum(
        is_shown(pair.difference)
        for pair in analysis.contrasts.pairs
        if (pair.factor, pair.levels, pair.measure, pair.label) == wanted
    )


def _pooled(one: ContrastSummary, n_shown: int) -> str:
    first, second = (level_title(one.factor, level) for level in one.levels)
    found = one.hartung_knapp
    if found is None:  # only pooled ones are told
        return ""
    verdict = "shown" if _below(one.q_value) else "not shown"
    bounds = difference_interval(found.low, found.high)
    return (
        f"AUROC of {second} less {first}: {difference(found.mean)} ({bounds}), {q(one.q_value)}, "
        f"over {counted(one.n_pairs, 'pair')}: {verdict} ({n_shown} by themselves)."
    )


def _pair(one: AurocDifference) -> str:
    verdict = "shown" if is_shown(one) else "not shown"
    tested = (
        f" ({difference_interval(one.low, one.high)}), {q(one.q_value)}" if one.q_value is not None else ""
    )
    return f"AUROC of {one.second} less {one.first}: {difference(one.difference)}{tested}: {verdict}."


def is_shown(test: AurocDifference) -> bool:
    """Return whether a difference is called shown: its q-value is below .05."""
    return _below(test.q_value)


def _below(q_value: float | None) -> bool:
    return q_value is not None and q_value < SHOWN_BELOW


def _by_q(one: ContrastSummary) -> float:
    return 1.0 if one.q_value is None else one.q_value


def _by_q_of_pair(one: MatchedPair) -> float:
    return 1.0 if one.difference.q_value is None else one.difference.q_value


def _labels(analysis: Analysis) -> Iterator[Finding]:
    kappas = [
        (one.kappa, one.one, one.other)
        for trial in analysis.trials
        for one in trial.agreements
        if one.kappa is not None
    ]
    if len(analysis.labels) > 1:
        if kappas:
            lowest, one, other = min(kappas)
            answer = (
                f"Cohen's kappa is {area(lowest)} to {area(max(kappas)[0])}; lowest between {label_title(one)} and "
                f"{label_title(other)}."
            )
        else:
            answer = "No two labels can be compared: one of them is the same for every item."
        yield Finding(question="Do the labels of what is right agree?", answer=answer)


def _degenerate(analysis: Analysis) -> Finding:
    found = list(analysis.degenerate())
    n_results = sum(len(label.measures) for trial in analysis.trials for label in trial.labels)
    answer = f"All {n_results} results can be judged."
    if found:
        kinds = Counter(one.kind.value.replace("_", " ") for one in found)
        answer = (
            f"{len(found)} of {counted(n_results, 'result')} mean nothing and are not in any figure: "
            f"{_reasons(kinds.most_common())}."
        )
    return Finding(question="What cannot be judged?", answer=answer)


def _reasons(kinds: Sequence[tuple[str, int]]) -> str:
    return listed([f"{kind} ({n})" for kind, n in kinds])
