"""What the reports of a best-of-K sweep are made of: read once, written by every renderer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from overnight.best_of_k.baselines import Baseline
from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.record import AtK, BaselineCurve, Estimate, Gap, KSweepResults, SelectorCurve
from overnight.report.best_of_k.naming import level
from overnight.report.results import RunReport, TrialReport
from overnight.report.uncertainty.results import Picture
from overnight.stats.pairs import FloatArray

C = TypeVar("C", BaselineCurve, SelectorCurve)
HEADLINE = Measure.BIAS_AWARE_FVE  # a constant error counts, and it grows with K


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownText:
    """One text of a vector."""

    text: str
    mse: float
    cosine: float | None
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownVector:
    """A vector with its place in its text, its best and its median text."""

    source: str
    position: int
    before: str
    token: str
    after: str
    role: str | None
    norm: float | None
    n_usable: int
    best: ShownText | None  # None: no draw succeeded
    median: ShownText | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spreads:
    """Errors and norms of all vectors of a trial."""

    errors: Mapping[int, FloatArray]  # by K: the expected error of the best of K texts, a vector each
    norms: FloatArray  # of vectors
    best_norms: FloatArray  # of the reconstructions from the best texts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SweepTrial:
    """One trial: a lens at a temperature."""

    trial: TrialReport
    results: KSweepResults | None
    missing_because: str | None
    vectors: tuple[ShownVector, ...]
    spreads: Spreads | None

    @property
    def slug(self) -> str:
        """Its folder."""
        return self.trial.slug

    @property
    def label(self) -> str:
        """What it is called."""
        return self.trial.label

    @property
    def measured(self) -> KSweepResults | None:
        """Its results, None where no number of texts is measured."""
        return self.results if self.results and self.results.oracle.by_k else None

    @property
    def largest_k(self) -> int | None:
        """The largest number of texts that is measured."""
        return max(self.measured.measured_ks) if self.measured else None

    @property
    def best(self) -> AtK | None:
        """What the best of the largest number of texts recovers."""
        return self.measured.oracle.by_k[-1] if self.measured else None

    @property
    def headline(self) -> Estimate | None:
        """The one number of the trial."""
        return self.best.measures[HEADLINE] if self.best else None

    @property
    def strongest_baseline(self) -> BaselineCurve | None:
        """The baseline that recovers most at the largest K."""
        return _highest(self.measured.baselines, self.largest_k) if self.measured else None

    @property
    def best_blind(self) -> SelectorCurve | None:
        """The selector that needs no vector and recovers most at the largest K."""
        return _highest(self.measured.selectors, self.largest_k) if self.measured else None

    def above(self, baseline: Baseline) -> Gap | None:
        """Return how far the oracle is above a baseline at the largest K."""
        curve = self.measured.baseline(baseline) if self.measured else None
        return gap_of(curve.at(self.largest_k or 0)) if curve else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """Two trials over the same vectors, at one number of texts."""

    label: str
    other: str
    k: int
    gap: Estimate  # the first less the second


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BestOfKReport:
    """Everything that is known of a best-of-K sweep."""

    run: RunReport
    trials: tuple[SweepTrial, ...]
    differences: tuple[Difference, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @property
    def experiment(self) -> str:
        """The name of the experiment."""
        return self.run.name

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self.run.run_id

    @property
    def is_dry_run(self) -> bool:
        """Whether no model was loaded."""
        return self.run.is_dry_run

    @property
    def measured(self) -> tuple[SweepTrial, ...]:
        """The trials that have numbers."""
        return tuple(one for one in self.trials if one.measured)

    @property
    def leading(self) -> SweepTrial | None:
        """The trial whose best texts recover most."""
        found = [one for one in self.measured if one.headline and one.headline.value is not None]
        return max(found, key=lambda one: one.headline.value or 0.0, default=None)  # type: ignore[union-attr]

    @property
    def level(self) -> str:
        """How wide intervals are."""
        levels = {level(one.measured) for one in self.measured if one.measured}
        return " or ".join(sorted(levels)) or "confidence"


def gap_of(at: AtK | None) -> Gap | None:
    """Return how far the oracle is ahead in the headline measure."""
    return next((gap for gap in at.gaps if gap.measure is HEADLINE), None) if at else None


def _highest(curves: tuple[C, ...], k: int | None) -> C | None:
    found = [(value, curve) for curve in curves if (value := curve.value(k or 0, HEADLINE)) is not None]
    return max(found, key=lambda pair: pair[0])[1] if found else None
