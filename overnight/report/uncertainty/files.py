"""The files of a whole uncertainty sweep: what was measured, how well it tells right from wrong, and figures of it."""

from pathlib import Path

from overnight.planning.plan import Plan
from overnight.report.uncertainty.auroc_results import write_auroc_results
from overnight.report.uncertainty.figures import write_figures
from overnight.report.uncertainty.summary import write_summary
from overnight.runs.analysis_file import inputs_digest, write_analysis_file
from overnight.runs.opening import load_plan, load_uncertainty_sweep
from overnight.runs.uncertainty_analysing import analysis_of, measured_slugs
from overnight.runs.uncertainty_table import TrialTable, write_run_table
from overnight.store.run_folder import RunFolder
from overnight.uncertainty.analysis import Analysis


def write_files_again(folder: RunFolder) -> bool:
    """Make everything of a run that follows from the tables of its trials; False where no trial was measured.

    Raises:
        StoreError: a table is damaged.
        UsageError: the run is of another kind.
    """
    spec = load_uncertainty_sweep(folder)
    plan = load_plan(folder, spec)
    slugs = measured_slugs(folder, plan)
    if slugs:
        inputs = inputs_digest(folder, plan, slugs)
        analysis = analysis_of(folder, spec, plan, slugs)
        write_run_files(folder, plan, analysis)
        write_analysis_file(folder, analysis, inputs)
    return bool(slugs)


def write_run_files(folder: RunFolder, plan: Plan, analysis: Analysis) -> None:
    """Write the tables, the summary and the figures of an analysis into its run."""
    slugs = {trial.slug for trial in analysis.trials}
    tables = [
        TrialTable(slug=trial.slug, model=trial.model.name, results=folder.trial(trial.slug).results)
        for trial in plan.trials
        if trial.slug in slugs
    ]
    write_run_table(folder.uncertainty, tables)
    write_analysis(folder.path, analysis)


def write_analysis(run: Path, analysis: Analysis) -> list[str]:
    """Write ``auroc_results``, ``analysis_summary.json`` and the figures into the folder of a run.

    Returns:
        The names of the figures that have something to show.
    """
    write_auroc_results(run, analysis)
    write_summary(run / "analysis_summary.json", analysis)
    return write_figures(run / "figures", analysis)
