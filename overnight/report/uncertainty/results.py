"""What the reports of an uncertainty sweep are made of: read once, written by every renderer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overnight.report.results import RunReport, TrialReport
from overnight.report.sheets.sheet import Sheet
from overnight.report.token_view import TokenView
from overnight.runs.uncertainty_columns import ColumnsRecord
from overnight.runs.weighting_study import WeightingRecord
from overnight.spec.uncertainty_sweep import UncertaintyExperiment
from overnight.uncertainty.analysis import Analysis, TrialResult
from overnight.uncertainty.judge_tally import JudgeTally

LONGEST_OPEN: Final = 40  # rows of a table that stands open on the page


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with tables and paragraphs, the same ones in Markdown and on the page."""

    anchor: str  # of its heading on the page
    heading: str
    sheets: tuple[Sheet, ...]
    paragraphs: tuple[str, ...] = ()  # before the tables
    n_open: int | None = None  # tables that stand open on the page, the others are folded; None: all of them

    def is_folded(self, number: int) -> bool:
        """Return whether a table, counted from 0, is folded on the page."""
        is_late = self.n_open is not None and number >= self.n_open
        return is_late or len(self.sheets[number].rows) > LONGEST_OPEN

    @property
    def is_empty(self) -> bool:
        """True where there is nothing to show."""
        return not self.paragraphs and not any(sheet.rows or sheet.notes for sheet in self.sheets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure that lies in the folder of the run."""

    path: Path
    title: str
    width: int  # pixels
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyReport:
    """Everything that is known of an uncertainty sweep."""

    run: RunReport
    experiment: UncertaintyExperiment | None  # None: its configuration cannot be read
    analysis: Analysis | None
    no_analysis_because: str | None
    columns: Mapping[str, ColumnsRecord]  # by trial; of those that were measured
    judges: Mapping[str, JudgeTally]  # by trial; of those whose answers a judge was shown
    weightings: Mapping[str, WeightingRecord]  # by trial; of those with a study
    fewer_shots: Mapping[str, int]  # by trial: items whose prompt had no room for all shots
    pictures: tuple[Picture, ...]
    tokens: TokenView | None

    def label(self, slug: str) -> str:
        """Return what a trial is called in tables."""
        return next((trial.label for trial in self.run.trials if trial.slug == slug), slug)

    def result(self, trial: TrialReport) -> TrialResult | None:
        """Return what the analysis says of a trial, None where it was not measured."""
        results: Sequence[TrialResult] = self.analysis.trials if self.analysis else ()
        return next((one for one in results if one.slug == trial.slug), None)
