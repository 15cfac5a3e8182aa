"""What ``significance.json`` says beyond difference, interval, p and q."""

from collections.abc import Iterator

from overnight.ids import number_label
from overnight.report import wording as w
from overnight.report.comparisons import Cell, MetricRow
from overnight.report.results import TrialReport
from overnight.report.sheets.sheet import Row, Sheet, yes_no


def effect_sizes(trial: TrialReport) -> Sheet | None:
    """Return effect sizes and further tests of every comparison, or None where the file has none."""
    rows = [_effects(cell, row) for cell, row in _rows(trial)]
    if not any(text for row in rows for text in row[3:]):
        return None
    methods = sorted({row.extras.ci_method for _, row in _rows(trial) if row.extras.ci_method})
    return Sheet(
        title="Effect sizes and further tests",
        head=(
            "T",
            "type",
            "metric",
            "Hodges-Lehmann, points",
            "Cohen's d_z",
            "rank-biserial",
            "sign statistic",
            "Wilcoxon p",
            "sign-flip p",
            "q (BY)",
            "p (Holm)",
        ),
        rows=tuple(rows),
        n_text=3,
        notes=(
            "Beside the p-value that is adjusted these decide nothing: Hodges-Lehmann is the median of the "
            "averages of pairs of differences, d_z the mean difference over its standard deviation, the "
            "rank-biserial correlation and the sign statistic run from \u22121 to 1 with treatment at 1.",
            *([f"Intervals of the differences: {', '.join(methods)}."] if methods else []),
        ),
    )


def equivalence(trial: TrialReport) -> Sheet | None:
    """Return the tests of equivalence and non-inferiority, or None where no margin was declared."""
    rows = tuple(_equivalence(cell, row) for cell, row in _rows(trial) if row.extras.equivalence)
    if not rows:
        return None
    return Sheet(
        title="Equivalence",
        head=(
            "T",
            "type",
            "metric",
            "margin, points",
            "interval",
            "p lower",
            "p upper",
            "p",
            "equivalent",
            "not inferior",
        ),
        rows=rows,
        n_text=3,
        notes=(
            "Two one-sided t tests: the arms are equivalent where both say that the difference lies within "
            "the margin. Not equivalent does not mean different.",
        ),
    )


def _rows(trial: TrialReport) -> Iterator[tuple[Cell, MetricRow]]:
    return ((cell, row) for cell in trial.cells for row in cell.metrics)


def _where(cell: Cell, row: MetricRow) -> Row:
    return number_label(cell.temperature), cell.type.value, w.metric_name(row.metric)


def _effects(cell: Cell, row: MetricRow) -> Row:
    more = row.extras
    return (
        *_where(cell, row),
        w.points(more.hodges_lehmann),
        *(w.decimal(value, 2) for value in (more.cohens_dz, more.rank_biserial, more.sign_statistic)),
        *(w.probability(p) for p in (more.wilcoxon_p, more.permutation_p, more.q_value_by, more.p_holm)),
    )


def _equivalence(cell: Cell, row: MetricRow) -> Row:
    test = row.extras.equivalence
    if test is None:
        return ()
    low, high = w.points(test.ci_low), w.points(test.ci_high)
    return (
        *_where(cell, row),
        f"\u00b1{w.decimal(100 * test.margin)}",
        f"{low} to {high}" if low and high else w.not_available(test.undefined_because),
        w.probability(test.p_lower),
        w.probability(test.p_upper),
        w.probability(test.p_value),
        yes_no(test.is_equivalent),
        f"{yes_no(test.is_non_inferior)} (p {w.probability(test.p_non_inferior)})"
        if test.p_non_inferior is not None
        else "",
    )
