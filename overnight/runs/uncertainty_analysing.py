"""The analysis of a whole uncertainty sweep, made from the tables of its trials."""

from collections.abc import Sequence

from overnight.planning.model_facts import model_facts
from overnight.planning.plan import Plan
from overnight.planning.uncertainty_trials import UncertaintyTrial
from overnight.runs.answers import item_answers
from overnight.runs.uncertainty_table import TABLE, read_measured_items
from overnight.scoring.aggregate import cluster_of
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec
from overnight.stats.degeneracy import Limits
from overnight.store.run_folder import RunFolder
from overnight.uncertainty.analysing import analyse
from overnight.uncertainty.analysis import Analysis, AnalysisSettings, ItemText, MeasuredTrial


def measured_slugs(folder: RunFolder, plan: Plan) -> list[str]:
    """Return the trials that were measured, in the order of the plan."""
    return [trial.slug for trial in plan.trials if (folder.trial(trial.slug).results / TABLE).is_file()]


def analysis_of(folder: RunFolder, spec: UncertaintySweepSpec, plan: Plan, slugs: Sequence[str]) -> Analysis:
    """Return the analysis of some trials of a run, from their tables.

    Raises:
        StoreError: a table is missing or damaged.
    """
    experiment = spec.experiment
    statistics = experiment.statistics
    return analyse(
        [
            _measured(folder, plan, trial)
            for trial in plan.trials
            if isinstance(trial, UncertaintyTrial) and trial.slug in slugs
        ],
        AnalysisSettings(
            seed=statistics.seed,
            n_resamples=statistics.resamples,
            confidence=statistics.confidence,
            limits=Limits(
                fewest_of_a_class=statistics.fewest_of_a_class,
                largest_missing_share=statistics.largest_missing_share,
                largest_tie_share=statistics.largest_tie_share,
            ),
            measure=experiment.main_measure,
            label=experiment.main_label,
        ),
        run_id=folder.run_id,
        experiment=spec.name,
        is_dry_run=experiment.dry_run,
    )


def _measured(folder: RunFolder, plan: Plan, trial: UncertaintyTrial) -> MeasuredTrial:
    files = folder.trial(trial.slug)
    texts = {
        each.item.key: ItemText(
            question=each.item.question, answer=each.greedy.text, references=each.item.answers
        )
        for each in item_answers(files, plan, trial)
        if each.greedy.text is not None
    }
    return read_measured_items(files.results).trial(
        trial.slug,
        model_facts(trial.model),
        texts,
        {item.key: cluster_of(item) for item in plan.items_of(trial)},
    )
