"""The sections of the reports, in their order."""

from overnight.report.sheets.sheet import Sheet
from overnight.report.uncertainty import (
    answer_sheets,
    asking_sheets,
    contrast_sheets,
    control_sheets,
    grid_sheets,
    judge_sheets,
    run_sheets,
    weighting_sheets,
)
from overnight.report.uncertainty.findings import findings
from overnight.report.uncertainty.results import Section, UncertaintyReport
from overnight.uncertainty.analysis import TrialResult


def results_of_run(report: UncertaintyReport) -> list[Section]:
    """Return what the answers say, from the findings to the models behind the measures; empty ones are left out."""
    analysis = report.analysis
    if analysis is None:
        return _shown([asking_sheets.asking(report), run_sheets.draws(report.run)])
    trials = analysis.trials
    return _shown(
        [
            Section(
                anchor="findings",
                heading="Findings",
                sheets=(
                    Sheet(
                        title="Findings",
                        head=("question", "answer"),
                        rows=tuple((one.question, one.answer) for one in findings(analysis)),
                    ),
                ),
            ),
            grid_sheets.grid(analysis, trials),
            grid_sheets.degenerate(report, analysis, trials),
            contrast_sheets.contrasts(analysis),
            contrast_sheets.between_measures(report, analysis, trials),
            contrast_sheets.between_models(analysis),
            contrast_sheets.cell_tests(analysis),
            grid_sheets.measures(report, analysis, trials),
            weighting_sheets.weighting(report, trials),
            control_sheets.length(report, analysis, trials),
            control_sheets.labels(report, trials),
            judge_sheets.judge(report, trials),
            control_sheets.calibration(report, analysis, trials),
            control_sheets.correlations(report, analysis, trials),
            answer_sheets.errors(report, analysis, trials),
            answer_sheets.missing(report, trials),
            asking_sheets.asking(report),
            run_sheets.draws(report.run),
        ]
    )


def results_of_trial(report: UncertaintyReport, trial: TrialResult) -> list[Section]:
    """Return what the answers of one trial say; tests are those of the run, adjusted over all of it."""
    analysis, trials = report.analysis, (trial,)
    if analysis is None:
        return []
    return _shown(
        [
            grid_sheets.grid(analysis, trials),
            grid_sheets.degenerate(report, analysis, trials),
            grid_sheets.measures(report, analysis, trials),
            contrast_sheets.between_measures(report, analysis, trials),
            weighting_sheets.weighting(report, trials),
            control_sheets.length(report, analysis, trials),
            control_sheets.labels(report, trials),
            judge_sheets.judge(report, trials),
            control_sheets.calibration(report, analysis, trials),
            control_sheets.correlations(report, analysis, trials),
            answer_sheets.errors(report, analysis, trials),
            answer_sheets.missing(report, trials),
        ]
    )


def _shown(sections: list[Section]) -> list[Section]:
    return [section for section in sections if not section.is_empty]
