"""Asking a transformers host: one request in, one completion out; the host makes batches of what waits."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from overnight.activations.answer import ActivationAnswer
from overnight.activations.request import ActivationRequest
from overnight.best_of_k.places import PlacesAnswer, PlacesRequest
from overnight.engines.alternatives import read_steps
from overnight.engines.answer_values import count, count_or_none, logprobs, seconds_or_none
from overnight.engines.loopback import LoopbackClient, require_text
from overnight.engines.protocol import Completion, Step
from overnight.errors import BadResponse, ContextOverflow, OutOfMemory, StoreError, UsageError
from overnight.lens.request import ReconstructAnswer, ReconstructRequest, VerbaliseAnswer, VerbaliseRequest
from overnight.planning.requests import Request
from overnight.records import FinishReason

# The order in which the distribution is cut and scaled; nothing else touches it.
SAMPLERS = ["top_k", "top_p", "temperature"]


_Read = TypeVar("_Read")


class TransformersEngine(LoopbackClient):
    """A client of a transformers host."""

    async def complete(self, request: Request) -> Completion:
        """Return the answer to one request; see ``Engine``.

        Raises:
            OutOfMemory: not even this request alone fits.
        """
        counted = await self.require_room(request)
        sent = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "max_new_tokens": request.max_new_tokens,
            "seed": request.seed,
            "stop": list(request.stop),
            "logprobs": request.logprobs or request.wants_steps,
        }
        if request.alternatives:
            sent["alternatives"] = request.alternatives
        if request.tokens:
            sent["steps"] = True
        started = time.perf_counter()
        body = await self.post("/complete", {"messages": list(request.messages), **sent})
        latency_s = time.perf_counter() - started
        try:
            n_generated = count(body["completion_tokens"], "completion_tokens")
            return Completion(
                text=require_text(body["text"]),
                finish_reason=FinishReason(body["finish_reason"]),
                prompt_tokens=count(body["prompt_tokens"], "prompt_tokens"),
                cached_tokens=count_or_none(body["cached_tokens"], "cached_tokens"),
                completion_tokens=n_generated,
                token_logprobs=logprobs(body["token_logprobs"], n_generated) if sent["logprobs"] else None,
                latency_s=latency_s,
                sent=sent | {"samplers": SAMPLERS, "template": body["template"]},
                prefill_s=seconds_or_none(body["prefill_s"], "prefill_s", per_second=1),
                decode_s=seconds_or_none(body["decode_s"], "decode_s", per_second=1),
                steps=_read_steps(body["steps"]) if request.wants_steps else None,
                counted_tokens=counted if request.alternatives else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadResponse(f"the transformers host answered without {error}: {str(body)[:200]}") from None

    async def activations(self, request: ActivationRequest) -> ActivationAnswer:
        """Return what became of some sequences, whose activations the host writes into a file each.

        All of them are one request, which is to be answered within the timeout; its batches are made by the host.

        Raises:
            UsageError: the model has no such point, or the directions are none for it.
            StoreError: a file cannot be written.
            EngineError: see ``ask``.
        """
        return await self._read("/activations", request.to_json(), ActivationAnswer.from_json)

    async def verbalise(self, request: VerbaliseRequest) -> VerbaliseAnswer:
        """Return texts of some vectors; all of them are one request, to be answered within the timeout.

        Raises:
            UsageError: the lens or the vectors are not of this model.
            OutOfMemory: not even one text at a time fits.
            EngineError: see ``ask``.
        """
        return await self._read("/verbalise", request.to_json(), VerbaliseAnswer.from_json)

    async def reconstruct(self, request: ReconstructRequest) -> ReconstructAnswer:
        """Return what it took to make vectors of some texts, which the host writes into the file that is asked for.

        Raises:
            UsageError: the lens or the tokens are not of this model.
            StoreError: the file cannot be written.
            OutOfMemory: not even one text at a time fits.
            EngineError: see ``ask``.
        """
        return await self._read("/reconstruct", request.to_json(), ReconstructAnswer.from_json)

    async def _read(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], _Read]) -> _Read:
        answer = await self.post(path, body)
        try:
            return read(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise BadResponse(
                f"the transformers host answered without {error}: {str(answer)[:200]}"
            ) from None

    async def places(self, request: PlacesRequest) -> PlacesAnswer:
        """Return the tokens of some texts whose states are to be taken; nothing is computed for it.

        Raises:
            UsageError: the model's tokenizer does not say where tokens stand.
            EngineError: see ``ask``.
        """
        body = await self.post("/places", request.to_json())
        try:
            return PlacesAnswer.from_json(body)
        except (KeyError, TypeError, ValueError) as error:
            raise BadResponse(f"the transformers host answered without {error}: {str(body)[:200]}") from None

    def raise_for(self, kind: str, message: str) -> None:
        """Raise what the host's names of errors mean."""
        if kind == "ContextOverflow":
            raise ContextOverflow(f"{message}; raise execution.engine.context_tokens or shorten the prompt")
        for mine in (OutOfMemory, UsageError, StoreError):
            if kind == mine.__name__:
                raise mine(message)

    async def health(self) -> dict[str, Any]:
        """Return what the host holds, how it works, and how often it had to halve a batch."""
        return await self.ask("GET", "/health")

    async def count_prompt(self, request: Request) -> int:
        """Return the tokens of a prompt."""
        counted = await self.post("/count", {"messages": list(request.messages)})
        return count(counted["prompt_tokens"], "prompt_tokens")


def _read_steps(shown: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return the steps of an answer, with the ids of the tokens that were taken."""
    return tuple(
        replace(step, taken=replace(step.taken, id=int(each["id"])))
        for step, each in zip(read_steps(shown), shown, strict=True)
    )
