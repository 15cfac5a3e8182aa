"""Texts and conversations as a model reads them: their tokens, where each stands, and who says it."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from overnight.engines.transformers.prompts import PromptRenderer
from overnight.errors import UsageError
from overnight.prompting.messages import Message

SPECIAL = "special"  # what the chat template adds
_MARK = "b7e1m{}m"  # stands in no template

Span = tuple[int, int]  # characters, from and to


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadText:
    """A text with its tokens."""

    text: str
    ids: tuple[int, ...]
    spans: tuple[Span, ...]  # of each token in the text; empty where it stands for none of it
    roles: tuple[str, ...] | None  # of each token; None where the text is no conversation
    first: int  # token of the text itself, behind special tokens that stand in front of it


def read_text(tokenizer: Any, text: str) -> ReadText:
    """Return a plain text as a model reads it, with the special tokens that the tokenizer adds.

    Raises:
        UsageError: the tokenizer does not say where tokens stand.
    """
    ids, spans = _tokens(tokenizer, text, add_special_tokens=True)
    return ReadText(text=text, ids=ids, spans=spans, roles=None, first=_first(tokenizer, ids))


def read_conversation(tokenizer: Any, renderer: PromptRenderer, messages: Sequence[Message]) -> ReadText:
    """Return a conversation as a model reads it.

    A token that writes something of a message is its role's; what the template puts around and between is ``special``.

    Raises:
        UsageError: the tokenizer does not say where tokens stand.
        ValueError: the template leaves a message out.
        TemplateError: it does not take such a conversation.
    """
    turns = [{"role": each["role"], "content": each["content"]} for each in messages]
    text = renderer.conversation(turns)
    said = spans_of_messages(renderer.conversation, turns, text)
    # The template writes the special tokens itself.
    ids, spans = _tokens(tokenizer, text, add_special_tokens=renderer.template == "plain")
    starts = [start for start, _ in said]

    def role(span: Span) -> str:
        start, end = span
        turn = bisect_right(starts, end - 1) - 1  # the last one that begins before the token ends
        while turn > 0 and said[turn - 1][1] > start:
            turn -= 1  # a token that writes the end of one message and the beginning of the next is the first one's
        return turns[turn]["role"] if start < end and turn >= 0 and said[turn][1] > start else SPECIAL

    return ReadText(
        text=text,
        ids=ids,
        spans=spans,
        roles=tuple(map(role, spans)),
        first=_first(tokenizer, ids),
    )


def spans_of_messages(
    render: Callable[[Sequence[dict[str, str]]], str], messages: Sequence[dict[str, str]], text: str
) -> list[Span]:
    """Return where the content of each message stands in a rendered conversation, in its order.

    The template is asked with marks for contents, so that a message that says what the template says as well is found
    where it is; templates may trim contents.

    Raises:
        ValueError: a content is not in the text.
        TemplateError: the template does not take the marks.
    """
    marks = [_MARK.format(number) for number in range(len(messages))]
    frame = render([each | {"content": mark} for each, mark in zip(messages, marks, strict=True)])
    between: list[str] = []
    for mark in marks:
        part, found, frame = frame.partition(mark)
        if not found:
            raise ValueError("the chat template leaves a message out, or moves it")
        between.append(part)
    between.append(frame)
    return _fitted([each["content"] for each in messages], between, text) or _searched(
        [each["content"] for each in messages], text
    )


def _fitted(contents: Sequence[str], between: Sequence[str], text: str) -> list[Span] | None:
    """Return where contents stand between what the template writes; None where it writes something else for them."""
    if not text.startswith(between[0]):
        return None
    spans: list[Span] = []
    start = len(between[0])
    for content, after in zip(contents, between[1:], strict=True):
        written = (
            form
            for form in (content, content.strip(), content.lstrip(), content.rstrip())
            if text.startswith(form + after, start)
        )
        form = next(written, None)
        if form is None:
            return None
        spans.append((start, start + len(form)))
        start += len(form) + len(after)
    return spans if start == len(text) else None


def _searched(contents: Sequence[str], text: str) -> list[Span]:
    """Return where contents stand, one behind another."""
    spans: list[Span] = []
    start = 0
    for content in contents:
        found = text.find(content.strip(), start)
        if found < 0:
            raise ValueError("the chat template does not write a message as it is")
        start = found + len(content.strip())
        spans.append((found, start))
    return spans


def _tokens(
    tokenizer: Any, text: str, *, add_special_tokens: bool
) -> tuple[tuple[int, ...], tuple[Span, ...]]:
    try:
        read = tokenizer(text, add_special_tokens=add_special_tokens, return_offsets_mapping=True)
    except NotImplementedError:
        raise UsageError(
            "the model's tokenizer does not say where tokens stand in a text; name a model with a fast one "
            "(tokenizer.json)"
        ) from None
    return tuple(read["input_ids"]), tuple((start, end) for start, end in read["offset_mapping"])


def _first(tokenizer: Any, ids: Sequence[int]) -> int:
    special = frozenset(tokenizer.all_special_ids)
    return next((place for place, each in enumerate(ids) if each not in special), len(ids))
