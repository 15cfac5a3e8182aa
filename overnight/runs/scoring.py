"""The score step: from the predictions of a trial to scores per item and arm, in the order of the plan."""

from collections.abc import Iterator
from itertools import groupby

from overnight.errors import StoreError
from overnight.planning.plan import Plan
from overnight.planning.trials import Trial
from overnight.records import FinishReason, Prediction
from overnight.runs.parsing import planned_draws
from overnight.runs.score_table import writing_scores
from overnight.runs.tables import read_predictions
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
        for _, group in groupby(_predictions(folder, plan, trial), key=lambda p: (p.item.key, p.arm)):
            scored = [
                (prediction, score_reply(prediction.item, prediction.text, rule, with_rouge=scoring.rouge_l))
                for prediction in group
                if prediction.finish_reason is not FinishReason.ERROR
            ]
            if scored:
                table.add(aggregate(scored))
    return table.n_rows


def _predictions(folder: TrialFolder, plan: Plan, trial: Trial) -> Iterator[Prediction]:
    rows = read_predictions(folder.predictions)
    n_rows = 0
    for n_rows, ((name, item, arm, index), row) in enumerate(
        zip(planned_draws(plan, trial), rows, strict=False), start=1
    ):
        if row["custom_id"] != name:
            raise StoreError(
                f"{folder.predictions}: row {n_rows} is {row['custom_id']!r}, wanted {name!r}; "
                "run the parse step again"
            )
        yield Prediction(
            custom_id=name,
            item=item,
            arm=arm,
            sample_index=index,
            text=row["response_text"],
            finish_reason=FinishReason(row["finish_reason"]),
            mean_logprob=float(row["mean_logprob"]) if row["mean_logprob"] else None,
        )
    expected = plan.requests_per_trial[trial.slug]
    if n_rows != expected or next(rows, None) is not None:
        raise StoreError(
            f"{folder.predictions}: found {n_rows} rows of this trial or more, wanted {expected}; "
            "run the parse step again"
        )
