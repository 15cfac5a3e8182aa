"""The score step: from the predictions of a trial to scores per item and arm, in the order of the plan."""

from itertools import groupby

from overnight.planning.plan import Plan
from overnight.planning.trial import Trial
from overnight.records import FinishReason
from overnight.runs.parsing import planned_predictions
from overnight.runs.score_table import writing_scores
from overnight.scoring.aggregate import aggregate
from overnight.scoring.score import score_reply
from overnight.scoring.support import UnsupportedRule
from overnight.spec.prompt_sweep import ScoringSpec, UnsupportedSpec
from overnight.store.run_folder import TrialFolder

_PLAIN = ScoringSpec()


def write_scores(
    folder: TrialFolder,
    plan: Plan,
    trial: Trial,
    unsupported: UnsupportedSpec,
    scoring: ScoringSpec = _PLAIN,
) -> int:
    """Write ``per_item_scores.csv``, one row an item and arm, and ``squad.json``; return the number of rows.

    A draw whose request failed is not scored; an item and arm of which every draw failed has no row.

    Raises:
        StoreError: ``predictions.csv`` is missing or does not have the draws of the plan.
    """
    rule = UnsupportedRule(**unsupported.model_dump())
    with writing_scores(folder.scores, folder.squad) as table:
        for _, group in groupby(planned_predictions(folder, plan, trial), key=lambda p: (p.item.key, p.arm)):
            scored = [
                (prediction, score_reply(prediction.item, prediction.text, rule, with_rouge=scoring.rouge_l))
                for prediction in group
                if prediction.finish_reason is not FinishReason.ERROR
            ]
            if scored:
                table.add(aggregate(scored))
    return table.n_rows
