"""Answers to requests for the activations of the held model."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from overnight.activations.answer import ActivationAnswer, Failure, SequenceAnswer
from overnight.activations.capturing import Captured, Capturer
from overnight.activations.request import ActivationRequest, SequenceInput
from overnight.activations.tokens import TokenSequence, written_pieces
from overnight.engines.transformers.conversations import read_conversation
from overnight.engines.transformers.errands import run_errand
from overnight.engines.transformers.loading import Loaded
from overnight.engines.transformers.prompts import PromptRenderer
from overnight.engines.transformers.scheduling import Scheduler
from overnight.engines.transformers.serving import Caller, RefusedRequest
from overnight.engines.transformers.sharing import MOST_TOKENS
from overnight.errors import UsageError


@dataclass(frozen=True, slots=True)
class _Read:
    """A sequence, tokenised."""

    tokens: TokenSequence
    pieces: tuple[dict[str, str], ...]
    failure: Failure | None


class Activations:
    """Computes activations between the batches of completions.

    Args:
        loaded: the model.
        renderer: of its prompts.
        scheduler: whose thread computes.
        context_tokens: most tokens of a sequence.
        forget: gives memory back that is kept for completions.
        around_pass: entered while sequences are computed.
    """

    def __init__(
        self,
        loaded: Loaded,
        renderer: PromptRenderer,
        scheduler: Scheduler,
        context_tokens: int,
        forget: Callable[[], None],
        around_pass: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._tokenizer = loaded.tokenizer
        self._renderer = renderer
        self._scheduler = scheduler
        self._context_tokens = context_tokens
        self._vocabulary = range(loaded.model.get_input_embeddings().num_embeddings)
        self._capturer = Capturer(loaded.model, forget, around_pass)

    async def answer(self, body: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Return what became of each sequence; what nobody waits for any more is not computed to its end."""
        try:
            request = ActivationRequest.from_json(body)
        except UsageError as error:
            raise RefusedRequest(400, "UsageError", str(error)) from None
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedRequest(400, "BadRequest", f"{type(error).__name__}: {error}") from None
        read = await asyncio.to_thread(lambda: [self._read(each) for each in request.sequences])
        sequences = [each.tokens for each in read if each.failure is None]
        captured: Captured = await run_errand(
            self._scheduler,
            lambda is_wanted: self._capturer.capture(request, sequences, self._budget(request), is_wanted),
            caller,
        )
        return ActivationAnswer(
            sequences=tuple(_answer(each, captured, request) for each in read),
            seconds=round(captured.seconds, 5),
            n_batches=captured.n_batches,
            halvings=captured.halvings,
            largest_probe_difference=captured.largest_probe_difference,
        ).to_json()

    def _budget(self, request: ActivationRequest) -> int:
        if self._scheduler.most_rows == 1:
            return 1  # what a sequence comes to is to depend on no other: each is a batch of its own
        return request.batch_tokens or min(self._scheduler.budget, MOST_TOKENS)

    def _read(self, sequence: SequenceInput) -> _Read:
        prompt: tuple[int, ...] = ()
        failure = None
        try:
            if sequence.messages is None:
                reply = tuple(self._tokenizer(sequence.text)["input_ids"])
            elif sequence.is_whole:
                prompt, reply = read_conversation(self._tokenizer, self._renderer, sequence.messages).ids, ()
            else:
                prompt = self._renderer.ids(
                    [{"role": each["role"], "content": each["content"]} for each in sequence.messages]
                )
                reply = sequence.reply_ids
            ids = (*prompt, *reply)
            if sequence.places:
                ids = _up_to_last_place(ids, sequence.places)
            self._require_known(ids)
            pieces = () if sequence.places else written_pieces(ids, self._decode)
        except (KeyError, TypeError, ValueError, OverflowError, TemplateError, UsageError) as error:
            ids, pieces = (), ()
            failure = Failure("UsageError", f"sequence {sequence.id}: {type(error).__name__}: {error}")
        if failure is None and not ids:
            failure = Failure("UsageError", f"sequence {sequence.id}: it has no tokens; leave it out")
        if len(ids) > self._context_tokens:
            said = f"sequence {sequence.id} has {len(ids)} tokens, the context holds {self._context_tokens}"
            failure = Failure(
                "ContextOverflow", f"{said}; raise execution.engine.context_tokens or shorten it"
            )
        n_prompt = min(len(prompt), len(ids))
        tokens = TokenSequence(id=sequence.id, ids=ids, n_prompt=n_prompt, places=sequence.places)
        return _Read(tokens, pieces, failure)

    def _require_known(self, ids: Sequence[int]) -> None:
        unknown = next((each for each in ids if each not in self._vocabulary), None)
        if unknown is not None:
            raise ValueError(
                f"no token {unknown} among {len(self._vocabulary)}; is it another model's reply?"
            )

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


def _up_to_last_place(ids: tuple[int, ...], places: Sequence[int]) -> tuple[int, ...]:
    """Return the tokens that states of some places depend on: a token attends to none behind it."""
    last = max(places)
    if last >= len(ids):
        raise ValueError(f"no token at place {last}, it has {len(ids)}")
    return ids[: last + 1]


def _answer(read: _Read, captured: Captured, request: ActivationRequest) -> SequenceAnswer:
    tokens = read.tokens
    failure = read.failure or captured.failures.get(tokens.id)
    return SequenceAnswer(
        id=tokens.id,
        token_ids=tokens.ids,
        pieces=read.pieces,
        n_prompt=tokens.n_prompt,
        path=None if failure else request.path_of(tokens.id),
        error=failure,
    )
