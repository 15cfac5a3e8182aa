"""Traits, points and values in words: the same ones in Markdown, on the page and in the figures."""

from overnight.captures.prompt import layer_and_sublayer
from overnight.report.capture.results import CapturedModel, GroupCell, ShownTrait
from overnight.report.wording import counted, not_available, significant

HOW_TO_READ = (
    "A projection is how far a state lies along the vector of a trait, in units of the state: it grows with the norms "
    "of the states, which differ by layers, so compare it within a layer. z is the same in standard deviations of what "
    "directions that mean nothing give for the very same state.",
    "A state stands at the token that was read last and decides on the next one: position t is the state after token "
    "t, 0-based over prompt and reply, and token_predicted is the token at t + 1. The state that chose the first token "
    "of a reply is the one at the last token of the prompt.",
    "The vectors are worth what they do on texts that they were not made from: one that is no better than "
    "permuted labels or random directions says nothing about its trait, however strong its colours are.",
    "The first token takes the attention that no other token gets, and its state is far longer than the others: the "
    "scales of colours leave it out, and so should comparisons.",
    "Means of groups are described and not tested: a few prompts that somebody wrote are no sample of anything.",
)


def point_title(point: str) -> str:
    """Return a point in words: ``layer 12, residual out``."""
    layer, sublayer = layer_and_sublayer(point)
    return f"layer {layer}, {sublayer.replace('_', ' ')}"


def where_shown(shown: ShownTrait) -> str:
    """Return where the numbers of a trait are taken, and why there."""
    why = "chosen on held-out texts" if shown.is_chosen else "the middle layer, for want of a chosen one"
    return f"{point_title(shown.point)} ({why})"


def value_text(value: float | None) -> str:
    """Return a projection or a z with three significant digits, or nothing where there is none."""
    return significant(value)


def cell_text(cell: GroupCell) -> str:
    """Return the mean of a group, or why there is none."""
    if cell.mean is None:
        if cell.n_undefined:
            return not_available(f"undefined for {counted(cell.n_undefined, 'prompt')}")
        return not_available("no prompt was captured")
    left = f" ({cell.n_undefined} undefined)" if cell.n_undefined else ""
    return f"{value_text(cell.mean)}{left}"


def quantities(model: CapturedModel) -> str:
    """Return what the numbers of a model are."""
    return "z" if any(one.has_z for one in model.traits) else "projection"
