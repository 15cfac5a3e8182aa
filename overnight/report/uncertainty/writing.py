"""Everything of a run that is made from its analysis, in one call."""

from pathlib import Path

from overnight.report.uncertainty.auroc_results import write_auroc_results
from overnight.report.uncertainty.figures import write_figures
from overnight.report.uncertainty.summary import write_summary
from overnight.uncertainty.analysis import Analysis


def write_analysis(run: Path, analysis: Analysis) -> list[str]:
    """Write ``auroc_results``, ``analysis_summary.json`` and the figures into the folder of a run.

    Returns:
        The names of the figures that have something to show.
    """
    write_auroc_results(run, analysis)
    write_summary(run / "analysis_summary.json", analysis)
    return write_figures(run / "figures", analysis)
