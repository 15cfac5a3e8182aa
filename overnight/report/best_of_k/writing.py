"""Every report of a best-of-K sweep, written from its files alone."""

from dataclasses import replace

from overnight.report.best_of_k.figures import write_figures
from overnight.report.best_of_k.markdown import run_markdown, trial_markdown
from overnight.report.best_of_k.page import run_page
from overnight.report.best_of_k.reading import read_best_of_k
from overnight.report.best_of_k.summary import write_summaries
from overnight.report.pictures import pictures_of
from overnight.store.files import write_text
from overnight.store.run_folder import RunFolder


def write_best_of_k_reports(folder: RunFolder) -> None:
    """Write the figures, the tables and the pages of a sweep.

    Raises:
        StoreError: the run has no manifest that can be read.
    """
    report = read_best_of_k(folder)
    titles = write_figures(folder, report)
    report = replace(report, pictures=tuple(pictures_of(folder.figures, titles)))
    for one in report.trials:
        write_text(folder.trial(one.slug).report, trial_markdown(report, one))
    write_text(folder.aggregate_report, run_markdown(report))
    write_text(folder.html_report, run_page(report))
    write_summaries(folder.summary, folder.k_sweep_summary, report)
