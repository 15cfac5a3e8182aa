"""Every report of a run, written from its files alone."""

from overnight.report.figures import write_figures
from overnight.report.page import run_page
from overnight.report.reading import BEST_OF_K, CAPTURE, UNCERTAINTY, read_run
from overnight.report.run_markdown import run_markdown
from overnight.report.summary import write_summary
from overnight.report.trial_markdown import trial_markdown
from overnight.store.files import write_text
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder


def write_reports(folder: RunFolder) -> None:
    """Write every report of a run.

    Raises:
        StoreError: the run has no manifest that can be read.
    """
    kind = read_manifest(folder).kind
    if kind == UNCERTAINTY:
        # scikit-learn and the planner are loaded for this kind alone.
        from overnight.report.uncertainty.writing import write_uncertainty_reports  # noqa: PLC0415

        write_uncertainty_reports(folder)
        return
    if kind == CAPTURE:
        # As is pyarrow for this one.
        from overnight.report.capture.files import write_capture_reports  # noqa: PLC0415

        write_capture_reports(folder)
        return
    if kind == BEST_OF_K:
        from overnight.report.best_of_k.writing import write_best_of_k_reports  # noqa: PLC0415

        write_best_of_k_reports(folder)
        return
    run = read_run(folder)
    for trial in run.trials:
        write_text(folder.trial(trial.slug).report, trial_markdown(run, trial))
    write_text(folder.aggregate_report, run_markdown(run))
    write_text(folder.html_report, run_page(run))
    write_summary(folder.summary, run)
    write_figures(folder, run)
