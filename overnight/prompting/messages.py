"""The messages of one request.

Whatever many requests share stands first (system prompt, then the instruction, then the passage), so that an
engine that keeps the state of a prefix evaluates it once.
"""

from typing import TypedDict

from overnight.ids import digest
from overnight.records import Item, ItemType

CLOSED_INSTRUCTION = (
    "Answer the question from what you know, in a few words. "
    "If you are not sure of the answer, reply exactly: I don't know."
)
OPEN_INSTRUCTION = (
    "Answer the question from the passage below and from nothing else, in a few words. "
    "If the passage does not contain the answer, reply exactly: I don't know."
)


class Message(TypedDict):
    """One turn of a chat."""

    role: str
    content: str


def user_message(item: Item) -> str:
    """Return the task instruction, then the passage if there is one, then the question."""
    if item.type is ItemType.OPEN:
        return f"{OPEN_INSTRUCTION}\n\nCONTEXT:\n{item.context}\n\nQUESTION:\n{item.question}"
    return f"{CLOSED_INSTRUCTION}\n\nQUESTION:\n{item.question}"


def messages(system_prompt: str, item: Item) -> list[Message]:
    """Return the system and the user turn of a request."""
    return [
        Message(role="system", content=system_prompt),
        Message(role="user", content=user_message(item)),
    ]


def template_digest() -> str:
    """Return the digest of everything this module adds to a prompt; part of a trial's identity."""
    parts = {
        ItemType.CLOSED: Item(
            dataset="d", item_id="i", type=ItemType.CLOSED, question="<question>", answers=("a",)
        ),
        ItemType.OPEN: Item(
            dataset="d",
            item_id="i",
            type=ItemType.OPEN,
            question="<question>",
            answers=(),
            context="<passage>",
        ),
    }
    return digest({kind.value: user_message(item) for kind, item in parts.items()})
