"""How well measures tell wrong answers from right ones: the grid of models and data sets, and every measure in full."""

from collections.abc import Iterator, Sequence

from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet
from overnight.report.uncertainty.naming import area, area_interval, label_title, measure_title
from overnight.report.uncertainty.results import Section, UncertaintyReport
from overnight.stats.discrimination import Discrimination
from overnight.uncertainty.analysis import Analysis, LabelResult, MeasureResult, TrialResult
from overnight.uncertainty.group_means import OF_MEASURE

AREA_DECIMALS = 3


def grid(analysis: Analysis, trials: Sequence[TrialResult]) -> Section:
    """Return a row a trial and label: accuracy, the main measure, and length alone beside it."""
    confidence = w.percent(analysis.settings.confidence, 0)
    title = measure_title(analysis.measure)
    rows = tuple(
        (
            trial.model.name,
            trial.dataset,
            label_title(label.label),
            w.count(label.n_labelled),
            accuracy(label),
            auroc(label.measure(analysis.measure)),
            _length_alone(label.measure(analysis.measure)),
        )
        for trial in trials
        for label in trial.labels
    )
    return Section(
        anchor="grid",
        heading="Models and data sets",
        sheets=(
            Sheet(
                title="Models and data sets",
                head=(
                    "model",
                    "data set",
                    "right by",
                    "items",
                    "right, %",
                    f"AUROC of {title}",
                    "of length alone",
                ),
                rows=rows,
                n_text=3,
                notes=(
                    f"In parentheses the {confidence} % interval: exact for the share of right answers, "
                    "DeLong's for the "
                    "AUROC. Length alone takes a longer answer for less certain: what it reaches is no "
                    "knowledge of the "
                    "model. Every measure of a trial is judged on the items that all its sound measures have.",
                    *_about_passages(analysis, trials),
                ),
            ),
        ),
    )


def _about_passages(analysis: Analysis, trials: Sequence[TrialResult]) -> tuple[str, ...]:
    """Return which intervals know that items share passages, and which do not; nothing where none do."""
    found = {
        f"{w.count(label.n_common)} items about {w.counted(label.n_passages, 'passage')} ({trial.dataset})": None
        for trial in trials
        if (label := trial.label(analysis.label)) and label.n_passages is not None
    }
    if not found:
        return ()
    return (
        f"By passage: {', '.join(found)}. Answers about one passage are no independent ones: DeLong's errors and "
        "tests are over whole passages (Obuchowski 1997), and every resample draws whole passages. By item, as if "
        "no two shared one: the intervals of shares of right answers, correlations, and the partial correlation "
        "with length.",
    )


def measures(report: UncertaintyReport, analysis: Analysis, trials: Sequence[TrialResult]) -> Section:
    """Return the mean of each measure over trials, and a table of all measures for each trial."""
    is_whole_run = len(trials) == len(analysis.trials) > 1
    return Section(
        anchor="measures",
        heading="All measures",
        n_open=1,
        sheets=(
            *((_means(analysis),) if is_whole_run else ()),
            *(_measures_of(report, analysis, trial) for trial in trials),
        ),
        paragraphs=(
            f"By {label_title(analysis.label)}; the columns at the right have the AUROC by the other labels. "
            "AUPRC is the "
            "average precision in finding wrong answers, for which chance gives their share; AURC is the mean share of "
            "wrong answers from the most certain one down, 0 is best; PRR is 1 for the best order and 0 for "
            "chance. Ties: "
            "share of the pairs of a wrong and a right answer with one score.",
        ),
    )


def _means(analysis: Analysis) -> Sheet:
    means = sorted(analysis.means_of(OF_MEASURE), key=lambda one: (one.mean is None, -(one.mean or 0.0)))
    return Sheet(
        title="Mean AUROC over trials",
        head=("measure", "mean", "interval", "trials", "left out"),
        rows=tuple(
            (
                measure_title(one.level),
                area(one.mean, AREA_DECIMALS) or w.not_available(one.undefined_because),
                area_interval_3(one.low, one.high),
                w.count(one.n_cells),
                w.count(one.n_degenerate),
            )
            for one in means
        ),
        n_text=1,
        notes=(
            "The interval is over the choice of items, with the models as they are. Degenerate results are "
            "left out, so "
            "two measures may be means of different trials.",
        ),
    )


def _measures_of(report: UncertaintyReport, analysis: Analysis, trial: TrialResult) -> Sheet:
    label = trial.label(analysis.label)
    others = [name for name in analysis.labels if name != analysis.label]
    head = (
        "measure",
        "items",
        "missing",
        "AUROC",
        "bootstrap",
        "AUPRC",
        "AURC",
        "PRR",
        "ties, %",
        "mean",
        "sd",
        *(f"AUROC, {label_title(name)}" for name in others),
    )
    found = label.measures if label else ()
    passages = label.n_passages if label else None
    about = "" if passages is None else f", about {w.counted(passages, 'passage')}"
    wrong = f"{w.count(label.n_wrong)} of {w.count(label.n_labelled)} answers are wrong" if label else ""
    return Sheet(
        title=report.label(trial.slug),
        head=head,
        rows=tuple(_measure_row(one, [trial.result(one.measure, name) for name in others]) for one in found),
        n_text=1,
        notes=(f"{wrong}; {w.count(label.n_common)} items have every sound measure{about}.",)
        if label
        else (),
    )


def _measure_row(one: MeasureResult, by_others: Sequence[MeasureResult | None]) -> Row:
    found, spread = one.discrimination, one.spread
    ranking = found.ranking
    return (
        measure_title(one.measure),
        w.count(found.n_items),
        w.count(spread.n_missing),
        auroc(one, in_short=True),
        area_interval_3(ranking.bootstrap.low, ranking.bootstrap.high) if ranking else "",
        area(ranking.auprc, AREA_DECIMALS) if ranking else "",
        area(ranking.aurc, AREA_DECIMALS) if ranking else "",
        w.decimal(ranking.prediction_rejection_ratio, AREA_DECIMALS) if ranking else "",
        w.percent(found.tie_share),
        w.significant(spread.mean),
        w.significant(spread.sd),
        *(_area_alone(other) for other in by_others),
    )


def _area_alone(one: MeasureResult | None) -> str:
    found = area(one.auroc, AREA_DECIMALS) if one else ""
    return found or auroc(one, in_short=True)


def accuracy(label: LabelResult) -> str:
    """Return the share of right answers in percent with its interval, or that there is none."""
    if label.accuracy is None:
        return w.not_available("no item has this label")
    if label.accuracy_low is None or label.accuracy_high is None:
        return w.percent(label.accuracy)
    bounds = f"{w.percent(label.accuracy_low)} to {w.percent(label.accuracy_high)}"
    return f"{w.percent(label.accuracy)} ({bounds})"


def auroc(one: MeasureResult | None, *, in_short: bool = False) -> str:
    """Return an AUROC with its interval, or why there is none; in short, only the kind of the reason."""
    if one is None:
        return w.not_available("not measured")
    ranking = one.discrimination.ranking
    if ranking is None:
        kind = _kind(one.discrimination)
        return w.not_available(kind if in_short else f"{kind}: {one.discrimination.undefined_because}")
    bounds = area_interval_3(ranking.delong.low, ranking.delong.high)
    return (
        f"{area(ranking.auroc, AREA_DECIMALS)} ({bounds})" if bounds else area(ranking.auroc, AREA_DECIMALS)
    )


def _kind(found: Discrimination) -> str:
    return found.degeneracy.value.replace("_", " ") if found.degeneracy else "degenerate"


def area_interval_3(low: float | None, high: float | None) -> str:
    """Return bounds as precise as the areas of tables, or nothing where there are none."""
    if low is None or high is None:
        return area_interval(low, high)
    return f"{area(low, AREA_DECIMALS)} to {area(high, AREA_DECIMALS)}"


def _length_alone(one: MeasureResult | None) -> str:
    if one is None:
        return w.not_available("not measured")
    found = one.length
    return area(found.auroc_length, AREA_DECIMALS) or w.NOT_AVAILABLE


def degenerate(report: UncertaintyReport, analysis: Analysis, trials: Sequence[TrialResult]) -> Section:
    """Return every result that is none, those with one reason in one row."""
    return Section(
        anchor="degenerate",
        heading="What cannot be judged",
        sheets=(
            Sheet(
                title="What cannot be judged",
                head=("trial", "right by", "measures", "kind", "why"),
                rows=tuple(_degenerate_rows(report, analysis, trials)),
                n_text=5,
            ),
        ),
        paragraphs=(
            "A result that would be a number and would mean nothing is named here, and is in no test, no "
            "mean and no figure.",
        ),
    )


def _degenerate_rows(
    report: UncertaintyReport, analysis: Analysis, trials: Sequence[TrialResult]
) -> Iterator[Row]:
    slugs = {trial.slug for trial in trials}
    by_label: dict[tuple[str, str, str, str], list[str]] = {}
    for one in analysis.degenerate():
        if one.slug in slugs:
            key = (one.slug, one.label, one.kind.value.replace("_", " "), one.sentence)
            by_label.setdefault(key, []).append(one.measure)
    groups: dict[tuple[str, tuple[str, ...], str, str], list[str]] = {}
    for (slug, label, kind, sentence), names in by_label.items():
        groups.setdefault((slug, tuple(names), kind, sentence), []).append(label_title(label))
    n_measures = len(analysis.measures)
    for (slug, measured, kind, sentence), labels in groups.items():
        named = (
            f"all {n_measures}" if len(measured) == n_measures else ", ".join(map(measure_title, measured))
        )
        yield report.label(slug), ", ".join(labels), named, kind, sentence
