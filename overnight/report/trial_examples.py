"""A few items of a trial, in Markdown."""

from collections.abc import Iterator

from overnight.ids import number_label
from overnight.records import FinishReason
from overnight.report.markdown import missing, table
from overnight.report.results import Example, Excerpt, Reply, TrialReport
from overnight.report.wording import NOT_AVAILABLE, count, not_available, percent

N_EXAMPLES = 5


def examples(trial: TrialReport) -> Iterator[str]:
    """Yield the blocks about items on which the arms differ."""
    yield "## Items on which the arms differ"
    if "predictions.csv" in trial.missing:
        yield missing(trial, "predictions.csv")
        return
    differing = [e for e in trial.examples if e.outcome.differs]
    differing += [e for e in trial.examples if not e.outcome.differs and e.replies_differ]
    if not differing:
        yield "Both arms gave the same reply to every item that was looked at."
        return
    yield table(
        ["item", "T", "question", "gold", "control", "right", "treatment", "right"],
        [_example_cells(example) for example in differing[:N_EXAMPLES]],
    )
    yield (
        f"A sample of {min(N_EXAMPLES, len(differing))} out of {count(trial.n_examples_in_all)} items and "
        "temperatures, those first on which one arm is right and the other wrong; right is the share of "
        "draws in percent. `report.html` shows more."
    )


def _example_cells(example: Example) -> list[str | Excerpt]:
    gold = "; ".join(answer.text for answer in example.answers) or "none: the passage does not answer it"
    return [
        example.item_key,
        number_label(example.temperature),
        example.question or not_available("not among the frozen items"),
        gold if example.question else NOT_AVAILABLE,
        *_reply_cells(example.control),
        *_reply_cells(example.treatment),
    ]


def _reply_cells(reply: Reply | None) -> tuple[str | Excerpt, str]:
    if reply is None:
        return not_available("this arm was not run"), ""
    if reply.finish_reason == FinishReason.ERROR:
        return not_available("the request failed"), ""
    return reply.text, percent(reply.em, 0)
