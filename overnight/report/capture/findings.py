"""What a capture found, in sentences; first what its vectors are worth."""

from collections.abc import Iterator

from overnight.captures.validity import SHOWN_BELOW, TraitValidity
from overnight.report.capture.naming import point_title, quantities, value_text
from overnight.report.capture.results import CapturedModel, CaptureReport
from overnight.report.wording import counted, percent

_MOST_NAMED = 8


def verdict(report: CaptureReport) -> str:
    """Return the one thing to know: whether the vectors know their traits at all."""
    records = [one for model in report.models for one in captured_worths(model)]
    n_captured = len(report.prompts) - len(report.failed)
    read = f"{counted(n_captured, 'prompt')} of {len(report.prompts):,} captured"
    if not records:
        return f"Nothing says what the vectors are worth; {read}."
    n_better = sum(one.is_better_than_null is True for one in records)
    are = "is" if n_better == 1 else "are"
    return (
        f"{n_better} of {counted(len(records), 'trait vector')} {are} better than chance on held-out texts "
        f"(p < {SHOWN_BELOW:g}); {read}."
    )


def findings(report: CaptureReport) -> list[str]:
    """Return the findings, a sentence or two each."""
    return [
        *(sentence for model in report.models for sentence in _worth(report, model)),
        *(sentence for model in report.models for sentence in _groups(report, model)),
        *_failed(report),
    ]


def captured_worths(model: CapturedModel) -> list[TraitValidity]:
    """Return what is known of the vectors that the states of a model were projected on."""
    found = [model.validity.of(one.trait) for one in model.traits] if model.validity else []
    return [one for one in found if one is not None]


def _worth(report: CaptureReport, model: CapturedModel) -> Iterator[str]:
    of = f" of {model.name}" if len(report.models) > 1 else ""
    worths = captured_worths(model)
    better = [one for one in worths if one.is_better_than_null]
    no_better = [one for one in worths if one.is_better_than_null is False]
    unknown = [one.trait for one in worths if one.is_better_than_null is None]
    without = [
        one.trait for one in model.traits if model.validity is None or model.validity.of(one.trait) is None
    ]
    if better:
        listed = "; ".join(f"{one.trait} {_accuracy(one)}" for one in better)
        yield f"Better than chance on held-out texts{of}: {listed}."
    if no_better:
        listed = "; ".join(f"{one.trait} {_accuracy(one)}" for one in no_better)
        yield f"Not better than chance{of}: {listed}. Read nothing into the scores of {_these(len(no_better))}."
    if unknown:
        yield f"Not held against chance{of}: {', '.join(unknown)}."
    if without:
        reason = f" ({model.missing[0]})" if model.missing else ""
        yield f"Nothing is known of the vectors{of} for {', '.join(without)}{reason}."


def _these(number: int) -> str:
    return "this vector" if number == 1 else "these vectors"


def _accuracy(one: TraitValidity) -> str:
    accuracy, chance = one.held_out.accuracy, one.at_chosen.null_p95
    reach = f", chance reaches {percent(chance)} % in one draw of twenty" if chance is not None else ""
    found = "no accuracy" if accuracy is None else f"{percent(accuracy)} % right"
    return f"{found} ({point_title(one.chosen)}{reach})"


def _groups(report: CaptureReport, model: CapturedModel) -> Iterator[str]:
    of = f" by {model.name}" if len(report.models) > 1 else ""
    worths = {one.trait: one for one in captured_worths(model)}
    for shown in model.traits[:_MOST_NAMED]:
        worth = worths.get(shown.trait)
        if worth is None or not worth.is_better_than_null:
            continue
        means = [
            (cell.mean, group, len(cell.values))
            for group in report.groups(model.name)
            if (cell := report.cell(model.name, group, shown.trait)).mean is not None
        ]
        if len(means) > 1:
            (high, first, n_first), (low, last, n_last) = max(means), min(means)
            yield (
                f"Replies show {shown.trait} most in {first} ({quantities(model)} {value_text(high)} over "
                f"{counted(n_first, 'prompt')}) and least in {last} ({value_text(low)} over {n_last}){of}; described, "
                "not tested."
            )


def _failed(report: CaptureReport) -> Iterator[str]:
    if report.failed:
        names = ", ".join(one.prompt_id for one in report.failed[:_MOST_NAMED])
        more = f" and {len(report.failed) - _MOST_NAMED} more" if len(report.failed) > _MOST_NAMED else ""
        yield f"Nothing was captured of {counted(len(report.failed), 'prompt')}: {names}{more}; the table says why."
