"""What came out of a trial, in Markdown: the arms, then whether they differ."""

from collections.abc import Iterator

from overnight.ids import number_label
from overnight.report.comparisons import Cell, McNemarRow, MetricRow
from overnight.report.markdown import missing, sheets_markdown, table
from overnight.report.results import TrialReport
from overnight.report.sheets.collecting import significance_sheets
from overnight.report.wording import (
    arm_interval,
    confidence,
    count,
    interval,
    metric_name,
    not_available,
    odds_ratio,
    percent,
    points,
    probability,
)


def results(trial: TrialReport) -> Iterator[str]:
    """Yield both arms in every metric, by temperature and type."""
    yield "## Results"
    if not trial.cells:
        yield missing(trial, "significance.json")
    for part in trial.cells:
        yield f"### Temperature {number_label(part.temperature)}, {part.type.value} items"
        yield table(
            [
                "metric",
                "control, %",
                "treatment, %",
                "difference, points",
                f"{confidence((trial,))} interval",
                "p",
                "q",
                "pairs",
                f"control alone, {confidence((trial,))} interval",
                f"treatment alone, {confidence((trial,))} interval",
            ],
            [_metric_cells(row) for row in part.metrics],
        )


def significance(trial: TrialReport) -> Iterator[str]:
    """Yield the tests of the differences; nothing where none was made."""
    tested = [(part, part.mcnemar) for part in trial.cells if part.mcnemar]
    sheets = significance_sheets(trial)
    if tested or sheets:
        yield "## Significance"
    if tested:
        yield table(
            [
                "T",
                "type",
                "McNemar: only treatment right (b)",
                "only control right (c)",
                f"odds ratio ({confidence((trial,))} interval)",
                "exact p",
                "mid-p",
                "q",
            ],
            [_mcnemar_cells(part, row) for part, row in tested],
        )
    yield from sheets_markdown(sheets)


def _metric_cells(row: MetricRow) -> list[str]:
    reason = not_available(row.undefined_because)
    return [
        metric_name(row.metric),
        percent(row.mean_control),
        percent(row.mean_treatment),
        points(row.delta) or reason,
        interval(row) or (reason if row.delta is not None else ""),
        probability(row.p_value),
        probability(row.q_value),
        count(row.n_pairs),
        arm_interval(row.extras.ci_control),
        arm_interval(row.extras.ci_treatment),
    ]


def _mcnemar_cells(part: Cell, row: McNemarRow) -> list[str]:
    return [
        number_label(part.temperature),
        part.type.value,
        count(row.b),
        count(row.c),
        odds_ratio(row),
        probability(row.p_exact),
        probability(row.p_mid),
        probability(row.q_value),
    ]
