"""Whether everything that was planned is there, once."""

from overnight.diagnosis.evidence import RunEvidence, TrialEvidence
from overnight.diagnosis.finding import Fact, Finding, Ineffective, Look, Remedy, Severity
from overnight.diagnosis.rules.common import NO_DRAWS, blind, look

_FINISHED = "done"
_OPEN = ("planned", "running")
_TABLED_WHOLE = ("done", "partial", "failed")  # one that a deadline stopped has tables of what is complete
# Spec B2 and B4.1 want the model to repeat the id of its request.
_ECHO = Ineffective(
    "asking the model to repeat the custom id",
    "ids are put on answers here, by the request that was sent; a model cannot lose one, and its answer changes",
)


def unfinished(run: RunEvidence) -> Look:
    """Say which trials did not come to their end, and why."""
    if not run.trials:
        return blind("unfinished", "the run has no trials yet")
    n_done = sum(trial.state == _FINISHED for trial in run.trials)
    now = "; the run is going on" if run.is_going_on else ""
    left = [trial for trial in run.trials if trial.state != _FINISHED]
    # Of a run that is going on, a trial that waits its turn is no finding.
    ended = [trial for trial in left if not (run.is_going_on and trial.state in _OPEN)]
    return look("unfinished", f"{n_done} of {len(run.trials)} trials are done{now}", map(_unfinished, ended))


def _unfinished(trial: TrialEvidence) -> Finding:
    n_done = trial.draws.n_done if trial.draws else 0
    n_missing = max(0, (trial.n_expected or 0) - n_done)
    why = {
        "planned": "the trial never began",
        "running": "the trial was interrupted: it says that it runs, and nobody works on it",
        "partial": "later steps of the trial were not asked for",
    }.get(trial.state, trial.state)
    return Finding(
        name="unfinished",
        severity=Severity.PROBLEM if trial.state == "failed" else Severity.WARNING,
        score=n_missing / trial.n_expected if trial.n_expected else 1.0,
        what=f"{why}: {trial.error}" if trial.error else why,
        where=(trial.slug,),
        evidence=(
            Fact("draws answered", n_done, f"of {trial.n_expected if trial.n_expected is not None else '?'}"),
        ),
        remedies=(
            Remedy("mend what other findings name, then `overnight resume RUN`; what is done is kept"),
        ),
    )


def row_mismatch(run: RunEvidence) -> Look:
    """Say where plan, journal and tables have different numbers of rows, or an id twice."""
    looked = [
        trial for trial in run.trials if trial.draws is not None or trial.tables.n_predictions is not None
    ]
    if not looked:
        return blind("row mismatch", NO_DRAWS)
    is_planned = all(trial.n_expected is not None for trial in looked)
    planned = f"{sum(trial.n_expected or 0 for trial in looked):,}" if is_planned else "an unknown number of"
    n_draws = sum(trial.draws.n_done + trial.draws.n_failed for trial in looked if trial.draws)
    n_rows = sum(trial.tables.n_predictions or 0 for trial in looked)
    n_scores = sum(trial.tables.n_scores or 0 for trial in looked)
    saw = f"{planned} draws planned, {n_draws:,} in journals, {n_rows:,} predictions, {n_scores:,} rows of scores"
    return look("row mismatch", saw, [_mismatch(trial) for trial in looked])


def _mismatch(trial: TrialEvidence) -> Finding | None:
    """Judge one trial; draws that are missing from one that is not done are `unfinished`'s."""
    tables, draws, expected = trial.tables, trial.draws, trial.n_expected
    wrong: list[str] = []
    remedies: list[Remedy] = []
    n_journal = draws.n_done + draws.n_failed if draws else None
    if trial.state == _FINISHED and expected is not None and n_journal is not None and n_journal != expected:
        wrong.append(f"the journal has {n_journal} draws, the plan {expected}")
        remedies.append(Remedy("`overnight resume RUN` asks for what is missing"))
    if trial.state in _TABLED_WHOLE and expected is not None and tables.n_predictions not in (None, expected):
        wrong.append(f"predictions.csv has {tables.n_predictions} rows, the plan {expected}")
        remedies.append(Remedy("`overnight resume RUN --from-step parse` writes the tables again"))
    if tables.n_repeated_ids:
        wrong.append(f"{tables.n_repeated_ids} custom ids stand twice in predictions.csv")
        remedies.append(Remedy("`overnight resume RUN --from-step parse` writes the tables again"))
    if (
        None not in (tables.n_scores, tables.n_prediction_arms)
        and tables.n_scores != tables.n_prediction_arms
    ):
        wrong.append(
            f"per_item_scores.csv has {tables.n_scores} rows, "
            f"predictions.csv {tables.n_prediction_arms} items x arms"
        )
        remedies.append(Remedy("`overnight resume RUN --from-step score` scores again"))
    if draws and draws.n_repeated:
        wrong.append(f"{draws.n_repeated} draws were answered more than once; the first answer counts")
        remedies.append(Remedy("was the journal joined from two? keep one run to one folder"))
    if not wrong:
        return None
    counts = {
        "planned": expected,
        "answered": draws.n_done if draws else None,
        "failed": draws.n_failed if draws else None,
        "predictions": tables.n_predictions,
        "scores": tables.n_scores,
    }
    off = [abs(n - expected) for n in (n_journal, tables.n_predictions) if n is not None and expected]
    return Finding(
        name="row mismatch",
        severity=Severity.PROBLEM,
        score=min(1.0, max(off, default=0) / expected) if expected else 1.0,
        what="; ".join(wrong),
        where=(trial.slug,),
        evidence=tuple(Fact(name, n, "rows") for name, n in counts.items() if n is not None),
        remedies=tuple(dict.fromkeys(remedies)),
        ineffective=(_ECHO,),
    )
