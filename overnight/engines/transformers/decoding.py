"""The decode loop: a batch of prompts in, each answer out as soon as it ends.

Rows are padded on the left and have their own positions, sampling settings and random numbers. A row that has ended
leaves the batch, so that nothing is computed for it any more.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from overnight.engines.transformers.alternatives import Ranked, likeliest
from overnight.engines.transformers.prefilling import Forward, Prefiller
from overnight.engines.transformers.sampling import Sampling, UniformStream
from overnight.engines.transformers.stopping import Decode, find_stop
from overnight.engines.transformers.writing import write_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A prompt, and how it is to be answered."""

    prompt: tuple[int, ...]  # ids, at least one
    sampling: Sampling
    seed: int
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    alternatives: int = (
        0  # likeliest tokens of each step that come with the answer; above 0: it shares no prefix
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model answered."""

    text: str
    finish_reason: Literal["stop", "length"]
    ids: tuple[int, ...]  # all that were generated, with the one that ended the answer
    token_logprobs: tuple[float, ...]  # nats, of each of the ids, before any sampling setting
    cached_tokens: int  # of the prompt, evaluated with another one
    prefill_s: float  # of its batch
    decode_s: float  # from the end of the prefill to the end of this answer
    ranked: tuple[Ranked, ...] = ()  # of each of the ids, where alternatives were asked for


@dataclass(slots=True)
class _Row:
    place: int  # in the batch
    job: Job
    stream: UniformStream
    cached_tokens: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ranked: list[Ranked] = field(default_factory=list)

    @property
    def sampling(self) -> Sampling:
        """How its tokens are drawn."""
        return self.job.sampling


class Decoder:
    """Answers batches with one model.

    Args:
        model: a causal language model of transformers, on its device, ready for inference.
        eos_ids: tokens that end an answer.
        decode: ids to text, without special tokens.
        share_prefixes: evaluate once what prompts of a batch begin with, and keep it for the next batch.
        around_prefill: entered while prompts are evaluated.
    """

    def __init__(
        self,
        model: Any,
        eos_ids: frozenset[int],
        decode: Decode,
        *,
        share_prefixes: bool,
        around_prefill: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._model = model
        self._eos_ids = eos_ids
        self._decode = decode
        self._device: torch.device = model.device
        self._forward = Forward(model)
        self._around_prefill = around_prefill
        self._prefiller = Prefiller(model, self._forward, share_prefixes=share_prefixes)

    def forget(self) -> None:
        """Give the memory of the kept prefixes back."""
        self._prefiller.forget()

    @torch.inference_mode()
    def run(
        self,
        jobs: Sequence[Job],
        on_answer: Callable[[int, Answer], None],
        is_wanted: Callable[[int], bool] = lambda _: True,
    ) -> None:
        """Answer a batch.

        Args:
            jobs: the batch.
            on_answer: told of each answer, by its place in the batch, as soon as it is there.
            is_wanted: asked once a token; a row that nobody waits for leaves the batch without an answer.

        Raises:
            torch.OutOfMemoryError, RuntimeError, MemoryError: it does not fit; answers that were given stand.
        """
        started = time.perf_counter()
        room = max(len(job.prompt) for job in jobs) + max(job.max_new_tokens for job in jobs)
        is_looked_into = any(job.alternatives for job in jobs)
        with self._around_prefill():
            evaluated = self._prefiller.evaluate([job.prompt for job in jobs], room, alone=is_looked_into)
        rows = [
            _Row(place, job, UniformStream(job.seed), n_cached)
            for place, (job, n_cached) in enumerate(zip(jobs, evaluated.cached_tokens, strict=True))
        ]
        prefilled = time.perf_counter()

        def take(row: _Row, token: int, logprob: float, logits: Tensor) -> bool:
            row.ids.append(token)
            row.logprobs.append(logprob)
            if row.job.alternatives:
                row.ranked.append(likeliest(logits, row.job.alternatives))
            ending = self._ending(row)
            if ending is None:
                return is_wanted(row.place)
            now = time.perf_counter()
            on_answer(row.place, _answer(row, *ending, prefilled - started, now - prefilled))
            return False

        write_rows(self._forward, evaluated, rows, take)

    def _ending(self, row: _Row) -> tuple[str, Literal["stop", "length"]] | None:
        """Return the text of an answer that has ended, and why it did."""
        if row.ids[-1] in self._eos_ids:
            return self._decode(row.ids[:-1]), "stop"
        stopped = find_stop(row.ids, row.job.stop, self._decode)
        if stopped is not None:
            return stopped.text, "stop"
        if len(row.ids) == row.job.max_new_tokens:
            return self._decode(row.ids), "length"
        return None


def _answer(
    row: _Row, text: str, reason: Literal["stop", "length"], prefill_s: float, decode_s: float
) -> Answer:
    return Answer(
        text=text,
        finish_reason=reason,
        ids=tuple(row.ids),
        token_logprobs=tuple(row.logprobs),
        ranked=tuple(row.ranked),
        cached_tokens=row.cached_tokens,
        prefill_s=prefill_s,
        decode_s=decode_s,
    )
