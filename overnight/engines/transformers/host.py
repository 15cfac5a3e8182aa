"""The process that holds a model with transformers and answers on loopback, behind a token.

Started by ``EngineHost`` as ``python -m overnight.engines.transformers.host``. The first line of standard input is
the settings as JSON; one line on standard output says that it serves; the end of standard input ends it.

    POST /complete  messages, temperature, top_p, top_k, max_new_tokens, seed, stop, logprobs, alternatives, steps
                    -> the answer
    POST /count     messages -> tokens of the prompt
    POST /activations   sequences, and what of them is wanted -> a file of each, and what became of it
    POST /places    texts, and a rule -> the tokens of each whose states are to be taken, and what stands there
    POST /verbalise     vectors, and how often each is to be said in words -> the texts
    POST /reconstruct   texts -> a file with a vector of each
    GET  /health    what is held, how, and what was computed
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overnight.engines.transformers.hosting import HEALTH, run_host
from overnight.engines.transformers.serving import Caller, Handler, RefusedRequest
from overnight.errors import BadResponse, OutOfMemory

if TYPE_CHECKING:
    from overnight.lens.protocol import Lens  # imports torch


def main() -> None:
    """Load, serve, and leave with the process that asked for it."""
    run_host(HeldModel)


class HeldModel:
    """A model on its device, and the answers to requests for it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import torch  # noqa: PLC0415 - only where a model is held

        from overnight.engines.transformers.activations import Activations  # noqa: PLC0415 - the same
        from overnight.engines.transformers.decoding import Decoder  # noqa: PLC0415
        from overnight.engines.transformers.lenses import Lenses  # noqa: PLC0415
        from overnight.engines.transformers.loading import load  # noqa: PLC0415
        from overnight.engines.transformers.memory import (  # noqa: PLC0415
            batch_budget,
            large_blocks_given_back,
        )
        from overnight.engines.transformers.places import Places  # noqa: PLC0415
        from overnight.engines.transformers.prompts import PromptRenderer  # noqa: PLC0415
        from overnight.engines.transformers.scheduling import Scheduler  # noqa: PLC0415

        torch.set_num_threads(settings["threads"])
        torch.set_num_interop_threads(1)  # one batch at a time: nothing runs beside an operation
        reading = contextlib.nullcontext if settings["bits"] is None else large_blocks_given_back
        with reading():
            loaded = load(
                Path(settings["model_path"]),
                dtype=settings["dtype"],
                bits=settings["bits"],
                device=settings["device"],
                attention=settings["attention"],
                trust_remote_code=settings["trust_remote_code"],
                gpus_there=settings["gpus_there"],
                may_offload=settings.get("may_offload", False),
                gpu=settings.get("gpu", 0),
            )
        self.placement = loaded.placement
        self._context_tokens = settings["context_tokens"]
        self._renderer = PromptRenderer(loaded.tokenizer)
        self._facts = {
            "device": str(loaded.device),
            "dtype": settings["dtype"],
            "bits": settings["bits"],
            "attention": getattr(loaded.model.config, "_attn_implementation", None),
            "template": self._renderer.template,
            "eos_ids": sorted(loaded.eos_ids),
        }
        tokenizer = loaded.tokenizer
        self._eos_ids: frozenset[int] = loaded.eos_ids
        self._decode: Callable[[Sequence[int]], str] = lambda ids: tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        decoder = Decoder(
            loaded.model,
            loaded.eos_ids,
            self._decode,
            share_prefixes=not settings["batch_invariant"],
            around_prefill=reading,
        )

        def load_lens(folder: Path) -> "Lens":
            from overnight.lens import loading  # noqa: PLC0415 - peft takes seconds, and few ask for a lens

            return loading.load_lens(folder, loaded.model, tokenizer, loaded.device)

        budget = settings["batch_tokens"] or batch_budget(
            loaded.model.config, loaded.dtype, loaded.device, self._context_tokens
        )
        rows = 1 if settings["batch_invariant"] else settings["slots"]
        self.scheduler = Scheduler(decoder, loaded.device, budget, rows)
        self._activations = Activations(
            loaded, self._renderer, self.scheduler, self._context_tokens, decoder.forget, reading
        )
        self._places = Places(loaded.tokenizer, self._renderer, self._context_tokens)
        self._lenses = Lenses(
            loaded,
            self._decode,
            self.scheduler,
            decoder.forget,
            reading,
            load_lens,
            1 if settings["batch_invariant"] else None,
        )

    def start(self) -> None:
        """Begin to make batches of what waits."""
        threading.Thread(target=self.scheduler.run_forever, name="batches", daemon=True).start()

    def handlers(self) -> dict[str, Handler]:
        """Return what answers."""
        return {
            "POST /complete": self.complete,
            "POST /count": self.count,
            "POST /activations": self._activations.answer,
            "POST /places": self._places.answer,
            "POST /verbalise": self._lenses.verbalise,
            "POST /reconstruct": self._lenses.reconstruct,
            HEALTH: self.health,
        }

    async def health(self, _: dict[str, Any], __: Caller) -> dict[str, Any]:
        """Return what is held and what was computed."""
        return {"status": "ok", **self._facts, **self.scheduler.counts()}

    async def count(self, body: dict[str, Any], _: Caller) -> dict[str, Any]:
        """Return how many tokens the prompt of some messages has."""
        return {"prompt_tokens": len(self._prompt(body))}

    async def complete(self, body: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Return the answer to one request; one that nobody waits for any more is not computed to its end."""
        from overnight.engines.transformers.alternatives import shown_steps  # noqa: PLC0415 - imports torch
        from overnight.engines.transformers.decoding import Job  # noqa: PLC0415 - the same
        from overnight.engines.transformers.sampling import Sampling  # noqa: PLC0415

        prompt = self._prompt(body)
        try:
            sampling = Sampling(float(body["temperature"]), float(body["top_p"]), int(body["top_k"]))
            job = Job(
                prompt=prompt,
                sampling=sampling,
                seed=int(body["seed"]),
                max_new_tokens=int(body["max_new_tokens"]),
                stop=tuple(body["stop"]),
                alternatives=int(body.get("alternatives", 0)),
            )
            wants_logprobs = bool(body["logprobs"])
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedRequest(400, "BadRequest", f"{type(error).__name__}: {error}") from None
        if len(prompt) + job.max_new_tokens > self._context_tokens:
            raise RefusedRequest(
                400,
                "ContextOverflow",
                f"the prompt has {len(prompt)} tokens and its answer up to {job.max_new_tokens}, the context "
                f"holds {self._context_tokens}",
            )
        waiting = self.scheduler.submit(job)
        try:
            answer = await caller.wait_for(asyncio.wrap_future(waiting.answer))
        except OutOfMemory as error:
            raise RefusedRequest(507, "OutOfMemory", str(error)) from None
        except BadResponse as error:
            raise RefusedRequest(500, "BadResponse", str(error)) from None
        finally:
            waiting.is_wanted = False
        steps = (
            shown_steps(answer.ids, answer.token_logprobs, answer.ranked, self._decode, self._eos_ids)
            if job.alternatives or body.get("steps")
            else None
        )
        return {
            "text": answer.text,
            "finish_reason": answer.finish_reason,
            "prompt_tokens": len(prompt),
            "cached_tokens": answer.cached_tokens,
            "completion_tokens": len(answer.ids),
            "token_logprobs": list(answer.token_logprobs) if wants_logprobs else None,
            "prefill_s": round(answer.prefill_s, 5),
            "decode_s": round(answer.decode_s, 5),
            "template": self._renderer.template,
            "steps": steps,
        }

    def _prompt(self, body: dict[str, Any]) -> tuple[int, ...]:
        try:
            return self._renderer.ids(body["messages"])
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedRequest(400, "BadRequest", f"messages: {type(error).__name__}: {error}") from None


if __name__ == "__main__":
    main()
