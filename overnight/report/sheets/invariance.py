"""The draws that were asked again, alone: how many answers depend on what else was asked, by trial or by arm."""

from collections.abc import Sequence

from overnight.ids import number_label
from overnight.invariance.record import AuditRecord, Tally
from overnight.report import wording as w
from overnight.report.results import RunReport, TrialReport
from overnight.report.sheets.sheet import Row, Sheet

# Nats. llama.cpp adds up the probabilities in another order where alternatives are asked for: about 1e-5.
_NOISE = 1e-4
_TITLE = "Answers that were asked for again, alone"
_COUNTS = ("asked again", "different", "ties", "real", "not known", "different, %", "interval, %")


def audit_of_run(run: RunReport) -> Sheet:
    """Return a row a trial; no rows where nothing was asked again."""
    found = [(trial.label, trial.audit) for trial in run.trials if trial.audit]
    rows = tuple((label, *_cells(record.all)) for label, record in found if record.all.n)
    notes = [f"{trial.label}: {note}" for trial in run.trials for note in _findings(trial)]
    return _sheet(("trial", *_COUNTS), rows, 1, [record for _, record in found], notes)


def audit_of_trial(trial: TrialReport) -> Sheet:
    """Return a row an arm; no rows where nothing was asked again."""
    record = trial.audit
    if record is None:
        return Sheet(title=_TITLE, notes=tuple(_findings(trial)))
    arms = sorted(record.arms, key=lambda arm: (arm.temperature, arm.condition))
    rows = [(number_label(arm.temperature), arm.condition.value, *_cells(arm)) for arm in arms]
    rows += [("all", "", *_cells(record.all))] if len(arms) > 1 else []
    return _sheet(("T", "arm", *_COUNTS), tuple(rows), 2, [record], _findings(trial))


def _sheet(
    head: Row, rows: tuple[Row, ...], n_text: int, records: Sequence[AuditRecord], findings: Sequence[str]
) -> Sheet:
    notes = list(findings)
    if rows:
        gaps = " or ".join(sorted({number_label(record.tie_gap) for record in records}))
        levels = " or ".join(sorted({w.percent(record.confidence, 0) for record in records}))
        notes.append(
            "Draws that were chosen at random were asked again one at a time, from the whole prompt on. A tie: "
            f"where the answers part, the model finds the two tokens likely to within {gaps} nats. Not known: the "
            "tokens were drawn at random, or the engine does not show the other one. The interval is exact "
            f"(Clopper-Pearson, {levels} %)."
        )
    return Sheet(title=_TITLE, head=head, rows=rows, n_text=n_text, notes=tuple(notes))


def _cells(tally: Tally) -> Row:
    low_high = tally.interval
    return (
        w.count(tally.n),
        w.count(tally.n_different),
        w.count(tally.n_ties),
        w.count(tally.n_real),
        w.count(tally.n_not_known),
        w.percent(tally.rate),
        "" if low_high is None else f"{w.percent(low_high[0])} to {w.percent(low_high[1])}",
    )


def _findings(trial: TrialReport) -> list[str]:
    """Return what is to be said beside the numbers."""
    record = trial.audit
    if record is None:
        why = trial.missing.get("audit.json")
        return [] if why is None else [f"The audit: {w.not_available(why)}"]
    found = []
    if record.state != "complete":
        asked = f"{w.count(record.all.n)} of {w.counted(record.n_chosen, 'draw')} asked again"
        found.append(f"The audit is {record.state} ({asked}): {record.why}.")
    if record.n_errors:
        found.append(f"{w.counted(record.n_errors, 'draw')} could not be answered alone.")
    tokens = record.prompt_tokens
    if tokens.n_different:
        examples = "; ".join(
            f"{each.custom_id}: the server read {each.evaluated} tokens of {each.counted}"
            for each in tokens.examples
        )
        found.append(
            f"Of {w.counted(tokens.n, 'prompt')} {w.count(tokens.n_different)} were not read as they are: {examples}."
        )
    largest = record.mean_logprobs.largest
    if largest is not None and largest >= _NOISE:
        found.append(
            "Answers with the same text differ by up to "
            f"{w.significant(largest)} nats in their mean log-probability."
        )
    return found
