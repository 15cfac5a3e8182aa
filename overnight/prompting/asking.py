"""The prompt of an uncertainty sweep: an instruction, answered questions, and the one that is asked.

Whatever the prompts of a trial share stands first, so that an engine that keeps the state of a prefix evaluates it
once. An item is never cut to make room: see `fit_shots` for what is left out instead.
"""

from collections.abc import Sequence

from overnight.ids import digest
from overnight.prompting.briefs import BRIEFS, WORKED_EXAMPLES, stop_strings
from overnight.prompting.messages import Message
from overnight.records import Item, ItemType
from overnight.spec.asking import Asking, BriefStyle

__all__ = ["Asking", "BriefStyle", "prefix", "prompt", "stop_strings", "template_digest"]

_BETWEEN = "\n\n"


def prompt(item: Item, shots: Sequence[Item], asking: Asking) -> tuple[Message, ...]:
    """Return the one user message that asks an item.

    It is `prefix`, then ``Context:`` where the item has a passage and it is to be shown, ``Question:``, and
    ``Answer:`` with nothing behind it.

    Args:
        item: to be asked.
        shots: answered before it, in this order; each has a gold answer, of which the first is shown.
        asking: how.
    """
    asked = _block(item.question, item.context if asking.with_context else None, "")
    return (Message(role="user", content=prefix(shots, asking) + asked),)


def prefix(shots: Sequence[Item], asking: Asking) -> str:
    """Return what all prompts of a trial with these shots begin with; empty where there is nothing before the item.

    Args:
        shots: answered questions, in this order.
        asking: how. The instruction stands at the beginning, or before every question where it is repeated; the worked
            examples of the manual style stand once.
    """
    brief = BRIEFS[asking.style]
    parts = [brief]
    if asking.style is BriefStyle.MANUAL:
        parts += [
            _block(one.question, one.context if asking.with_context else None, one.answer)
            for one in WORKED_EXAMPLES
        ]
    for number, shot in enumerate(shots):
        if asking.repeat_brief and (number or len(parts) > 1):
            parts.append(brief)
        parts.append(_block(shot.question, shot.context if asking.with_context else None, shot.answers[0]))
    if asking.repeat_brief and len(parts) > 1:
        parts.append(brief)
    return "".join(part + _BETWEEN for part in parts if part)


def template_digest(asking: Asking) -> str:
    """Return the digest of everything that this module adds to a prompt or ends an answer with.

    Part of a trial's identity; which shots are drawn is not in it.
    """
    said = {
        kind: prompt(_placeholder(context), [_placeholder(context)] * 2, asking)[0]["content"]
        for kind, context in (("with_passage", "<passage>"), ("without", None))
    }
    return digest({"prompts": said, "stop": stop_strings(asking.style)})


def _block(question: str, context: str | None, answer: str) -> str:
    lines = [] if context is None else [f"Context: {context}"]
    return "\n".join([*lines, f"Question: {question}", f"Answer: {answer}".rstrip()])


def _placeholder(context: str | None) -> Item:
    kind = ItemType.CLOSED if context is None else ItemType.OPEN
    return Item(
        dataset="d", item_id="i", type=kind, question="<question>", answers=("<answer>",), context=context
    )
