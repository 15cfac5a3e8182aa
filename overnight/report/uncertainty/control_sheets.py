"""What is to be known before an AUROC is believed: labels, length, calibration, and measures that are one measure."""

from collections.abc import Sequence

from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet
from overnight.report.uncertainty.grid_sheets import AREA_DECIMALS, area_interval_3
from overnight.report.uncertainty.naming import area, label_title, measure_title
from overnight.report.uncertainty.results import Section, UncertaintyReport
from overnight.uncertainty.analysis import Analysis, Calibration, MeasureResult, TrialResult

_LENGTH_HEAD = (
    "trial",
    "measure",
    "items",
    "AUROC",
    "of length alone",
    "within strata of length",
    "interval",
    "partial rho",
    "q",
)


def labels(report: UncertaintyReport, trials: Sequence[TrialResult]) -> Section:
    """Return how far every two labels agree."""
    rows = tuple(
        (
            report.label(trial.slug),
            f"{label_title(one.one)} and {label_title(one.other)}",
            w.count(one.n),
            w.percent(one.raw) or w.not_available("no item has both"),
            w.decimal(one.kappa, 3) or w.not_available(one.kappa_undefined_because),
            w.count(one.n_only_one),
            w.count(one.n_only_other),
        )
        for trial in trials
        for one in trial.agreements
    )
    return Section(
        anchor="labels",
        heading="Labels of what is right",
        sheets=(
            Sheet(
                title="Labels of what is right",
                head=(
                    "trial",
                    "labels",
                    "items",
                    "agree, %",
                    "kappa",
                    "only by the first",
                    "only by the second",
                ),
                rows=rows,
                notes=("Kappa is Cohen's: 1 for full agreement, 0 for what chance gives.",) if rows else (),
            ),
        ),
    )


def length(report: UncertaintyReport, analysis: Analysis, trials: Sequence[TrialResult]) -> Section:
    """Return the main measure beside length, then every measure, by the main label."""
    main, rows = [], []
    for trial in trials:
        label = trial.label(analysis.label)
        found = label.measures if label else ()
        name = report.label(trial.slug)
        main += [
            (name, measure_title(one.measure), *_length_cells(one))
            for one in found
            if one.measure == analysis.measure
        ]
        if found and len({_length_cells(one) for one in found}) == 1 and found[0].length.undefined_because:
            rows.append((name, "all", *_length_cells(found[0])))
        else:
            rows += [(name, measure_title(one.measure), *_length_cells(one)) for one in found]
    return Section(
        anchor="length",
        heading="Length control",
        sheets=(
            Sheet(
                title="Length control",
                head=_LENGTH_HEAD,
                rows=tuple(main),
                notes=(
                    f"By {label_title(analysis.label)}. Within strata: pairs of a wrong and a right answer of "
                    "about one length only. Partial rho: Spearman's correlation of the measure with being wrong, "
                    "ranks of length held fixed; q over all of the run.",
                )
                if main
                else (),
            ),
            Sheet(title="Every measure with length held fixed", head=_LENGTH_HEAD, rows=tuple(rows)),
        ),
        n_open=1,
    )


def _length_cells(one: MeasureResult) -> Row:
    found = one.length
    if found.undefined_because:
        return (w.count(found.n_items), w.not_available(found.undefined_because), "", "", "", "", "")
    within = found.within
    return (
        w.count(found.n_items),
        area(found.auroc, AREA_DECIMALS),
        area(found.auroc_length, AREA_DECIMALS),
        area(found.auroc_within, AREA_DECIMALS) or w.not_available(found.within_undefined_because),
        area_interval_3(within.low, within.high) if within else "",
        w.decimal(found.partial.rho, 3)
        if found.partial
        else w.not_available(found.partial_undefined_because),
        w.probability(one.length_p.q_value),
    )


def calibration(report: UncertaintyReport, analysis: Analysis, trials: Sequence[TrialResult]) -> Section:
    """Return how far probabilities are from shares of right answers, by the main label."""
    rows = []
    for trial in trials:
        label = trial.label(analysis.label)
        rows += [
            (report.label(trial.slug), one.title, *_calibration_cells(one))
            for one in (label.calibrations if label else ())
        ]
    return Section(
        anchor="calibration",
        heading="Calibration",
        sheets=(
            Sheet(
                title="Measures taken as the probability of being right",
                head=(
                    "trial",
                    "probability",
                    "items",
                    "ECE",
                    "RMS error, debiased",
                    "Brier",
                    "of reliability",
                    "of resolution",
                    "of uncertainty",
                ),
                rows=tuple(rows),
                notes=(
                    f"By {label_title(analysis.label)}. Neither probability claims to be that of being "
                    "right; the table says how "
                    "far off it would be to read it so. This is another question than whether wrong answers "
                    "rank below right "
                    "ones. Brier = reliability \u2212 resolution + uncertainty, and what the bins hide.",
                )
                if rows
                else (),
            ),
        ),
    )


def _calibration_cells(one: Calibration) -> Row:
    found = one.reliability
    if found is None:
        return ("", w.not_available(one.undefined_because), "", "", "", "", "")
    return (
        w.count(found.n_items),
        w.decimal(found.ece, 3),
        w.decimal(found.rms_debiased, 3) or w.not_available(found.rms_undefined_because),
        w.decimal(found.brier, 3),
        w.decimal(found.brier_reliability, 3),
        w.decimal(found.brier_resolution, 3),
        w.decimal(found.brier_uncertainty, 3),
    )


def correlations(report: UncertaintyReport, analysis: Analysis, trials: Sequence[TrialResult]) -> Section:
    """Return Spearman's rho of every measure with the main one, and every two that are one ranking."""
    rows = []
    for trial in trials:
        for one in trial.correlations:
            found = one.correlation
            if analysis.measure not in (found.first, found.second) and not found.is_same_ranking:
                continue
            rho = w.decimal(found.rho, 3) or w.not_available(found.undefined_because)
            rows.append(
                (
                    report.label(trial.slug),
                    measure_title(found.first),
                    measure_title(found.second),
                    w.count(found.n_items),
                    rho,
                    w.probability(one.adjusted.q_value),
                    "yes" if found.is_same_ranking else "",
                )
            )
    return Section(
        anchor="correlations",
        heading="Correlations between measures",
        sheets=(
            Sheet(
                title=f"Measures beside {measure_title(analysis.measure)}, and pairs that rank alike",
                head=("trial", "first", "second", "items", "rho", "q", "one ranking"),
                rows=tuple(rows),
                n_text=3,
                notes=(
                    "Spearman's rho over the items that have both. Two measures with one ranking are one "
                    "measure for every "
                    "AUROC. All pairs are in analysis_summary.json.",
                )
                if rows
                else (),
            ),
        ),
    )
