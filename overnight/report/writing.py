"""Every report of a run, written from its files alone."""

from overnight.store.files import write_text
from overnight.store.run_folder import RunFolder


def write_reports(folder: RunFolder) -> None:
    """Write every report of a run."""
    write_text(folder.aggregate_report, "# to come\n")
