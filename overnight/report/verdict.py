"""The verdict of a run in plain words, computed from its comparisons."""

from dataclasses import dataclass

from overnight.report.comparisons import Cell, MetricRow
from overnight.report.results import TRUNCATED_TOO_OFTEN, RunReport, TrialReport
from overnight.report.wording import (
    confidence,
    counted,
    interval,
    metric_name,
    percent,
    points,
    probability,
)
from overnight.store.manifest import TrialState

_HEADLINES = ("em", "f1")  # more is better; whether an abstention is good depends on the item
_NAMED_BESIDE = 3  # the largest of the other differences; the tables have them all


@dataclass(frozen=True, slots=True)
class Placed:
    """A comparison and where it was made."""

    trial: TrialReport
    cell: Cell
    row: MetricRow


def comparisons(run: RunReport) -> list[Placed]:
    """Return every comparison of a run, in the order of its trials."""
    return [Placed(trial, cell, row) for trial in run.trials for cell in trial.cells for row in cell.metrics]


def verdict(run: RunReport) -> str:
    """Return one paragraph: what was shown, or what could not have been."""
    sentences = [_what_was_shown(run), _what_else_was_shown(run), *_caveats(run)]
    return " ".join(sentence for sentence in sentences if sentence)


def _what_was_shown(run: RunReport) -> str:
    tested = [
        placed
        for placed in comparisons(run)
        if placed.row.metric in _HEADLINES and placed.row.q_value is not None
    ]
    if not tested:
        return "No comparison could be made: no trial has been scored in both arms."
    shown = [placed for placed in tested if placed.row.is_shown]
    if not shown:
        return (
            f"No difference could be shown: none of {counted(len(tested), 'comparison')} in exact match or "
            f"token F1 has q below 0.05. {_power(run)}"
        )
    better = sum((placed.row.delta or 0) > 0 for placed in shown)
    best = max(shown, key=lambda placed: abs(placed.row.delta or 0))
    row = best.row
    where = f"{best.cell.type.value} items ({best.trial.arm_label(best.cell.temperature)})"
    return (
        f"{len(shown)} of {counted(len(tested), 'comparison')} in exact match or token F1 {_has(len(shown))} "
        f"q below 0.05: the treatment is better in {better} and worse in {len(shown) - better}. The largest "
        f"difference is in {metric_name(row.metric)} on {where}: {percent(row.mean_control)} % with the "
        f"control prompt, {percent(row.mean_treatment)} % with the treatment, a difference of "
        f"{points(row.delta)} points ({confidence((best.trial,))} interval {interval(row)}, "
        f"q {probability(row.q_value)}, {counted(row.n_pairs, 'pair')})."
    )


def _what_else_was_shown(run: RunReport) -> str:
    """Name the other metrics that moved, so that a verdict on answers does not hide one on abstentions."""
    shown = [
        placed for placed in comparisons(run) if placed.row.metric not in _HEADLINES and placed.row.is_shown
    ]
    if not shown:
        return ""
    largest = sorted(shown, key=lambda placed: -abs(placed.row.delta or 0))[:_NAMED_BESIDE]
    moves = ", ".join(
        f"{metric_name(placed.row.metric)} on {placed.cell.type.value} items from "
        f"{percent(placed.row.mean_control)} % to {percent(placed.row.mean_treatment)} % "
        f"({placed.trial.arm_label(placed.cell.temperature)}, q {probability(placed.row.q_value)})"
        for placed in largest
    )
    more = f", and {len(shown) - len(largest)} more" if len(shown) > len(largest) else ""
    return f"Beside the scores there moved, with q below 0.05: {moves}{more}."


def _power(run: RunReport) -> str:
    if run.unfinished:
        n_pairs = max(placed.row.n_pairs for placed in comparisons(run))
        return f"The largest comparison has {counted(n_pairs, 'pair')}; the plan was for {run.n_items:,} items in all."
    sizes: dict[str, int] = {}
    for dataset in run.items:
        sizes[dataset.type.value] = sizes.get(dataset.type.value, 0) + dataset.n_items
    items = {
        kind: f"{sizes[kind]:,} {kind} items" if kind in sizes else f"the {kind} items"
        for kind in run.detectable
    }
    none = " and ".join(items[kind] for kind, smallest in run.detectable.items() if smallest is None)
    some = " and ".join(
        f"about {percent(smallest)} points with {items[kind]}"
        for kind, smallest in run.detectable.items()
        if smallest is not None
    )
    supposed = "with 80 % power if the prompts differ on a fifth of the items"
    return " ".join(
        sentence
        for sentence in (
            f"The smallest difference in exact match that could have been detected {supposed} is {some}."
            if some
            else "",
            f"With {none} no difference could have been detected {supposed}." if none else "",
        )
        if sentence
    )


def _caveats(run: RunReport) -> list[str]:
    sentences = []
    unfinished = run.unfinished
    if run.is_dry_run:
        sentences.append("This was a dry run with synthetic answers: none of this is about a model.")
    if unfinished:
        failed = sum(trial.state is TrialState.FAILED for trial in unfinished)
        sentences.append(
            f"{len(unfinished)} of {counted(len(run.trials), 'trial')} {_has(len(unfinished))} not ended well"
            + (f" ({failed} failed)." if failed else ".")
        )
    other = [trial for trial in run.trials if "model_digest" in trial.differing_settings()]
    if other:
        models = sorted({str((trial.effective or {})["model"]) for trial in other})
        sentences.append(
            f"For want of memory {counted(len(other), 'trial')} {_has(len(other))} been answered by another model "
            f"than was asked for ({', '.join(models)})."
        )
    cut = [trial for trial in run.trials if (trial.truncated_share or 0) > TRUNCATED_TOO_OFTEN]
    if cut:
        worst = max(cut, key=lambda trial: trial.truncated_share or 0)
        sentences.append(
            f"In {counted(len(cut), 'trial')} more than {percent(TRUNCATED_TOO_OFTEN, 0)} % of the replies "
            f"were cut off at the token limit (most in {worst.label}, {percent(worst.truncated_share)} %); a "
            "longer limit may change the result."
        )
    return sentences


def _has(number: int) -> str:
    return "has" if number == 1 else "have"
