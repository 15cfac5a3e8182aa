"""Answers to requests for the tokens of texts whose states are to be taken."""

import asyncio
from typing import Any

from jinja2 import TemplateError

from overnight.activations.request import SequenceInput
from overnight.best_of_k.places import PlacesAnswer, PlacesRequest, TextPlaces, TokenPlace
from overnight.best_of_k.positions import positions_of, why_none
from overnight.engines.transformers.conversations import ReadText, read_conversation, read_text
from overnight.engines.transformers.prompts import PromptRenderer
from overnight.engines.transformers.serving import Caller, RefusedRequest
from overnight.errors import UsageError
from overnight.spec.positions import VectorPositions

_BEFORE, _AFTER = 160, 80  # characters that are shown around a token


class Places:
    """Chooses tokens; nothing is computed, so that it does not wait for batches.

    Args:
        tokenizer: of the held model.
        renderer: of its prompts.
        context_tokens: most tokens of a text.
    """

    def __init__(self, tokenizer: Any, renderer: PromptRenderer, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._renderer = renderer
        self._context_tokens = context_tokens

    async def answer(self, body: dict[str, Any], _: Caller) -> dict[str, Any]:
        """Return the tokens that are taken of each text."""
        try:
            request = PlacesRequest.from_json(body)
            texts = await asyncio.to_thread(
                lambda: tuple(self._places(each, request.rule) for each in request.sequences)
            )
        except UsageError as error:
            raise RefusedRequest(400, "UsageError", str(error)) from None
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedRequest(400, "BadRequest", f"{type(error).__name__}: {error}") from None
        return PlacesAnswer(texts=texts).to_json()

    def _places(self, sequence: SequenceInput, rule: VectorPositions) -> TextPlaces:
        try:
            read = self._read(sequence)
        except (KeyError, TypeError, ValueError, TemplateError) as error:
            return TextPlaces(id=sequence.id, n_tokens=0, places=(), why=f"it cannot be read: {error}")
        n_tokens = len(read.ids)
        why = None
        positions: tuple[int, ...] = ()
        if n_tokens > self._context_tokens:
            why = (
                f"it has {n_tokens} tokens, the context holds {self._context_tokens}; raise "
                "execution.engine.context_tokens or shorten it"
            )
        elif not (positions := positions_of(rule, n_tokens, read.first, sequence.id)):
            why = why_none(rule, n_tokens, read.first)
        places = tuple(_place(read, position) for position in positions)
        return TextPlaces(id=sequence.id, n_tokens=n_tokens, places=places, why=why)

    def _read(self, sequence: SequenceInput) -> ReadText:
        if sequence.text is not None:
            return read_text(self._tokenizer, sequence.text)
        return read_conversation(self._tokenizer, self._renderer, sequence.messages or ())


def _place(read: ReadText, position: int) -> TokenPlace:
    start, end = read.spans[position]
    return TokenPlace(
        position=position,
        token=read.text[start:end],
        before=read.text[max(0, start - _BEFORE) : start],
        after=read.text[end : end + _AFTER],
        role=None if read.roles is None else read.roles[position],
    )
