"""The best of a run. The first of many is first by luck too: intervals stand beside every rank."""

from dataclasses import dataclass

from overnight.stats.discrimination import Ranking
from overnight.stats.model_cells import ModelFacts
from overnight.uncertainty.analysis import Analysis, GroupMean, LabelResult, MeasureResult, TrialResult
from overnight.uncertainty.group_means import OF_MEASURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Performer:
    """One model on one data set."""

    slug: str
    model: ModelFacts
    dataset: str
    measure: str
    label: str
    auroc: float
    low: float | None  # DeLong's
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is shown of a trial where there is room for one measure and one label."""

    trial: TrialResult
    label: LabelResult | None
    result: MeasureResult | None

    @property
    def ranking(self) -> Ranking | None:
        """How well the measure ranks; None where that cannot be judged."""
        return self.result.discrimination.ranking if self.result else None

    @property
    def why_not(self) -> str | None:
        """Why there is nothing to show, None where there is."""
        if self.result is None:
            return "not measured"
        return self.result.discrimination.undefined_because


def shown(analysis: Analysis) -> list[Shown]:
    """Return every trial by the measure and the label of the analysis."""
    return [
        Shown(
            trial=trial,
            label=trial.label(analysis.label),
            result=trial.result(analysis.measure, analysis.label),
        )
        for trial in analysis.trials
    ]


def best_trials(analysis: Analysis, n: int = 5) -> list[Performer]:
    """Return the trials with the highest AUROC, by the measure and the label of the analysis."""
    found = [
        Performer(
            slug=one.trial.slug,
            model=one.trial.model,
            dataset=one.trial.dataset,
            measure=analysis.measure,
            label=analysis.label,
            auroc=ranking.auroc,
            low=ranking.delong.low,
            high=ranking.delong.high,
        )
        for one in shown(analysis)
        if (ranking := one.ranking)
    ]
    return sorted(found, key=lambda one: (-one.auroc, one.slug))[:n]


def best_measures(analysis: Analysis) -> list[GroupMean]:
    """Return the mean AUROC of every measure that has one, the highest first."""
    found = [one for one in analysis.means_of(OF_MEASURE) if one.mean is not None]
    return sorted(found, key=lambda one: (-(one.mean or 0.0), one.level))
