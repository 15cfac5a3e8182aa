"""The five questions, and what is better than what: matched contrasts, tests over cells, measures and models."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet
from overnight.report.uncertainty.findings import is_shown
from overnight.report.uncertainty.grid_sheets import AREA_DECIMALS
from overnight.report.uncertainty.naming import (
    QUESTIONS,
    area,
    label_title,
    level_title,
    measure_title,
)
from overnight.report.uncertainty.results import Section, UncertaintyReport
from overnight.stats.auroc_difference import AurocDifference
from overnight.stats.cell_tests import ASSUMPTIONS, CellTest
from overnight.stats.contrasts import ContrastSummary, MatchedPair
from overnight.stats.model_cells import Factor
from overnight.uncertainty.analysis import Analysis, TrialResult

_ADJUSTED = (
    "q is Benjamini and Hochberg's, over all tests of this kind in the run, those of other measures and "
    "labels too; below "
    "0.05 a difference is called shown. analysis_summary.json has them all, with Holm's and Benjamini and Yekutieli's."
)
_DIFFERS_IN = {
    Factor.FAMILY: "family",
    Factor.SIZE: "size",
    Factor.DATASET: "data set",
    Factor.INSTRUCT: "instruction tuning",
    Factor.QUANTIZATION: "quantization",
}
_DIFFERENCE_HEAD = ("items", "AUROC, first", "second", "difference", "interval", "p", "q", "shown")


def contrasts(analysis: Analysis) -> Section:
    """Return the five questions, each with its pooled contrasts and its pairs, by the main measure and label."""
    return Section(
        anchor="contrasts",
        heading="Matched contrasts",
        sheets=tuple(sheet for factor in Factor for sheet in _of_factor(analysis, factor)),
        paragraphs=(
            "Two trials are a pair where they differ in one thing alone. AUROC of "
            f"{measure_title(analysis.measure)} by "
            f"{label_title(analysis.label)}, second less first. {_ADJUSTED}",
        ),
    )


def _of_factor(analysis: Analysis, factor: Factor) -> Iterator[Sheet]:
    wanted = (factor, analysis.measure, analysis.label)
    found = analysis.contrasts
    summaries = [one for one in found.summaries if (one.factor, one.measure, one.label) == wanted]
    pairs = [one for one in found.pairs if (one.factor, one.measure, one.label) == wanted]
    unmatched = [one.sentence for one in found.unmatched if (one.factor, one.measure, one.label) == wanted]
    question = QUESTIONS[factor]
    if not pairs:
        why = unmatched[0] if unmatched else "no cell can be judged"
        yield Sheet(title=question, notes=(f"{question} Not answered: {why}.",))
        return
    yield Sheet(
        title=question,
        head=("first", "second", "pairs", "without", "mean difference", "interval", "p", "q", "I\u00b2, %"),
        rows=tuple(_summary_row(one) for one in summaries),
        notes=tuple(
            f"Of {_levels(one)}: some of these pairs share a trial ({one.n_shared_cells}), so they are not "
            "independent, as "
            "pooling takes them."
            for one in summaries
            if one.n_shared_cells and one.hartung_knapp
        ),
    )
    yield Sheet(
        title=f"Pairs that differ in {_DIFFERS_IN[factor]} alone",
        head=("first", "second", *_DIFFERENCE_HEAD),
        rows=tuple(_pair_row(one) for one in pairs),
    )


def _summary_row(one: ContrastSummary) -> Row:
    first, second = (level_title(one.factor, level) for level in one.levels)
    found = one.hartung_knapp
    if found is None:
        why = w.not_available(one.undefined_because)
        return (first, second, w.count(one.n_pairs), w.count(one.n_undefined), why, "", "", "", "")
    return (
        first,
        second,
        w.count(one.n_pairs),
        w.count(one.n_undefined),
        signed(found.mean),
        signed_bounds(found.low, found.high),
        w.probability(found.p_value),
        w.probability(one.q_value),
        w.percent(one.pooling.i2, 0) if one.pooling else "",
    )


def _levels(one: ContrastSummary) -> str:
    first, second = (level_title(one.factor, level) for level in one.levels)
    return f"{first} and {second}"


def _pair_row(one: MatchedPair) -> Row:
    return one.difference.first, one.difference.second, *difference_cells(one.difference)


def difference_cells(one: AurocDifference) -> Row:
    """Return a difference as it stands in a row, from the number of items on."""
    if one.difference is None:
        return (w.count(one.n_items), "", "", w.not_available(one.undefined_because), "", "", "", "")
    tested = signed_bounds(one.low, one.high) or w.not_available(one.undefined_because)
    return (
        w.count(one.n_items),
        area(one.auroc_first, AREA_DECIMALS),
        area(one.auroc_second, AREA_DECIMALS),
        signed(one.difference),
        tested,
        w.probability(one.p_value),
        w.probability(one.q_value),
        "" if one.q_value is None else "yes" if is_shown(one) else "no",
    )


def signed(value: float | None) -> str:
    """Return a difference of areas with its sign, or nothing where there is none."""
    if value is None:
        return ""
    text = f"{value:+.{AREA_DECIMALS}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", w.MINUS)


def signed_bounds(low: float | None, high: float | None) -> str:
    """Return the bounds of a difference, or nothing where there are none."""
    return "" if low is None or high is None else f"{signed(low)} to {signed(high)}"


def cell_tests(analysis: Analysis) -> Section:
    """Return the tests that take an AUROC for one number, by the main measure and label."""
    found = [
        one for one in analysis.cell_tests if (one.measure, one.label) == (analysis.measure, analysis.label)
    ]
    return Section(
        anchor="cells",
        heading="Tests over trials",
        sheets=(
            Sheet(
                title="Analysis of variance, t tests, and a line over size",
                head=(
                    "test",
                    "factor",
                    "levels",
                    "trials",
                    "statistic",
                    "estimate",
                    "interval",
                    "p",
                    "q",
                ),
                rows=tuple(_test_row(one) for one in found),
                n_text=3,
                notes=(ASSUMPTIONS,),
            ),
        ),
    )


def _test_row(one: CellTest) -> Row:
    levels = ", ".join(level_title(one.factor, level) for level in one.levels)
    counts = ", ".join(map(w.count, one.n_cells))
    named = (one.test, _DIFFERS_IN[one.factor], levels, counts)
    if one.undefined_because:
        return (*named, w.not_available(one.undefined_because), "", "", "", "")
    return (
        *named,
        w.decimal(one.statistic, 2),
        signed(one.estimate),
        signed_bounds(one.low, one.high),
        w.probability(one.p_value),
        w.probability(one.q_value),
    )


def between_measures(report: UncertaintyReport, analysis: Analysis, trials: Sequence[TrialResult]) -> Section:
    """Return every measure beside the main one, trial by trial, by the main label."""
    rows: list[Row] = []
    for trial in trials:
        name, found = report.label(trial.slug), _beside(analysis, trial)
        cells = [difference_cells(one) for one in found]
        if found and not any(one.difference is not None for one in found):
            main = trial.result(analysis.measure, analysis.label)
            why = main.discrimination.undefined_because if main else "not measured"
            rows.append((name, "all", cells[0][0], "", "", w.not_available(why), "", "", "", ""))
        else:
            rows += [(name, measure_title(one.second), *row) for one, row in zip(found, cells, strict=True)]
    title = measure_title(analysis.measure)
    return Section(
        anchor="between-measures",
        heading="Measures compared",
        sheets=(
            Sheet(
                title=f"Every measure less {title}",
                head=(
                    "trial",
                    "measure",
                    "items",
                    f"AUROC, {title}",
                    "of the measure",
                    *_DIFFERENCE_HEAD[3:],
                ),
                rows=tuple(rows),
                notes=(
                    f"DeLong's test for correlated AUROCs, by {label_title(analysis.label)}. {_ADJUSTED}",
                ),
            ),
        ),
    )


def _beside(analysis: Analysis, trial: TrialResult) -> list[AurocDifference]:
    """Return the tests of every measure against the main one, which comes first in each."""
    label = trial.label(analysis.label)
    found = [
        one for one in (label.differences if label else ()) if analysis.measure in (one.first, one.second)
    ]
    return [one if one.first == analysis.measure else turned_round(one) for one in found]


def turned_round(one: AurocDifference) -> AurocDifference:
    """Return the same test with its sides exchanged."""
    return replace(
        one,
        first=one.second,
        second=one.first,
        auroc_first=one.auroc_second,
        auroc_second=one.auroc_first,
        difference=None if one.difference is None else -one.difference,
        low=None if one.high is None else -one.high,
        high=None if one.low is None else -one.low,
    )


def between_models(analysis: Analysis) -> Section:
    """Return every two models on one data set, by the main measure and label."""
    return Section(
        anchor="between-models",
        heading="Models compared",
        sheets=(
            Sheet(
                title="Models compared",
                head=("data set", "first", "second", *_DIFFERENCE_HEAD),
                rows=tuple(
                    (
                        one.dataset,
                        one.difference.first,
                        one.difference.second,
                        *difference_cells(one.difference),
                    )
                    for one in analysis.models
                    if (one.measure, one.label) == (analysis.measure, analysis.label)
                ),
                n_text=3,
                notes=(
                    f"{measure_title(analysis.measure)} by {label_title(analysis.label)}, second less first, "
                    "on the items that both answered. Items are resampled for both models "
                    f"together, because each is right on items of its own. {_ADJUSTED}",
                ),
            ),
        ),
    )
