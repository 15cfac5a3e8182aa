"""Every report of an uncertainty sweep, written from its files alone."""

from overnight.report.uncertainty.markdown import run_markdown, trial_markdown
from overnight.report.uncertainty.page import run_page
from overnight.report.uncertainty.reading import read_uncertainty
from overnight.report.uncertainty.trial_summary import write_summary
from overnight.store.files import write_text
from overnight.store.run_folder import RunFolder


def write_uncertainty_reports(folder: RunFolder) -> None:
    """Write every report of an uncertainty sweep.

    Raises:
        StoreError: the run has no manifest that can be read.
    """
    report = read_uncertainty(folder)
    for trial in report.run.trials:
        write_text(folder.trial(trial.slug).report, trial_markdown(report, trial))
    write_text(folder.aggregate_report, run_markdown(report))
    write_text(folder.html_report, run_page(report))
    write_summary(folder.summary, report)
