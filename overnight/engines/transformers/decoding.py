"""The decode loop: a batch of prompts in, each answer out as soon as it ends.

Rows are padded on the left and have their own positions, sampling settings and random numbers. A row that has ended
leaves the batch, so that nothing is computed for it any more.
"""

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from overnight.engines.transformers.alternatives import Ranked, likeliest
from overnight.engines.transformers.keys_values import (
    NO_PREFIX,
    Prefix,
    common_length,
    keep_rows,
    kept_prefix,
    new_cache,
    shares_prefixes,
)
from overnight.engines.transformers.sampling import Sampling, UniformStream, next_tokens
from overnight.engines.transformers.stopping import Decode, find_stop

_SHORTEST_PREFIX = 16  # tokens; fewer are evaluated faster than they are looked after


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


class Decoder:
    """Answers batches with one model.

    Args:
        model: a causal language model of transformers, on its device, ready for inference.
        eos_ids: tokens that end an answer.
        decode: ids to text, without special tokens.
        share_prefixes: evaluate once what all prompts of a batch begin with, and keep it for the next batch.
    """

    def __init__(self, model: Any, eos_ids: frozenset[int], decode: Decode, *, share_prefixes: bool) -> None:
        self._model = model
        self._eos_ids = eos_ids
        self._decode = decode
        self._device: torch.device = model.device
        takes = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self._takes_positions = "position_ids" in takes
        self._shares = share_prefixes and shares_prefixes(new_cache(model.config, 1))
        self._prefix = NO_PREFIX

    def forget(self) -> None:
        """Give the memory of the kept prefix back."""
        self._prefix = NO_PREFIX

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
        prefix, n_cached = (
            (NO_PREFIX, 0) if is_looked_into else self._shared_prefix([job.prompt for job in jobs])
        )
        rows = [
            _Row(place, job, UniformStream(job.seed), n_cached if place == 0 else len(prefix.ids))
            for place, job in enumerate(jobs)
        ]
        cache = new_cache(self._model.config, room, prefix, len(rows))
        ids, mask, positions = self._padded([job.prompt for job in jobs], len(prefix.ids))
        logits = self._forward(ids, mask, positions, cache)
        positions = positions[:, -1:]
        prefilled = time.perf_counter()
        while True:
            tokens, logprobs = next_tokens(
                logits, [row.job.sampling for row in rows], [row.stream for row in rows]
            )
            kept = []
            for index, row in enumerate(rows):
                row.ids.append(tokens[index])
                row.logprobs.append(logprobs[index])
                if row.job.alternatives:
                    row.ranked.append(likeliest(logits[index], row.job.alternatives))
                ending = self._ending(row)
                if ending is not None:
                    now = time.perf_counter()
                    on_answer(row.place, _answer(row, *ending, prefilled - started, now - prefilled))
                elif is_wanted(row.place):
                    kept.append(index)
            if not kept:
                return
            if len(kept) < len(rows):
                keep_rows(cache, kept, self._device)
                rows = [rows[index] for index in kept]
                mask, positions = mask[kept], positions[kept]
                tokens = [tokens[index] for index in kept]
            positions = positions + 1
            mask = torch.cat([mask, mask.new_ones((len(rows), 1))], dim=-1)
            logits = self._forward(torch.tensor(tokens, device=self._device)[:, None], mask, positions, cache)

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """Return the logits that follow the last token of each row."""
        more = {"position_ids": positions} if self._takes_positions else {}
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **more,
            **self._last_only,
        )
        return output.logits[:, -1]  # type: ignore[no-any-return]

    def _padded(self, prompts: Sequence[tuple[int, ...]], n_prefix: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids and positions (rows, tokens after the prefix), and the mask (rows, all tokens).

        The padding is between the prefix and what follows it: on the left, where there is no prefix. It has the
        token 0, which the mask hides.
        """
        rests = [prompt[n_prefix:] for prompt in prompts]
        longest = max(map(len, rests))
        ids = torch.tensor([[0] * (longest - len(rest)) + list(rest) for rest in rests])
        mask = torch.tensor([[1] * n_prefix + [0] * (longest - len(r)) + [1] * len(r) for r in rests])
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)[:, n_prefix:]
        return ids.to(self._device), mask.to(self._device), positions.to(self._device)

    def _shared_prefix(self, prompts: Sequence[tuple[int, ...]]) -> tuple[Prefix, int]:
        """Return what all prompts begin with, evaluated, and how many tokens of it were evaluated before.

        At least one token of each prompt is left out of it: its logits are what an answer begins with.
        """
        if not self._shares:
            return NO_PREFIX, 0
        shared = prompts[0][: min(map(len, prompts)) - 1]
        for prompt in prompts:
            shared = shared[: common_length(shared, prompt)]
        n_known = common_length(self._prefix.ids, shared)
        if len(prompts) == 1:
            shared = shared[:n_known]  # nobody to share the rest with
        if len(shared) < _SHORTEST_PREFIX:
            return NO_PREFIX, 0
        if n_known == len(shared):
            return self._prefix.cut(n_known), n_known
        cache = new_cache(self._model.config, len(shared), self._prefix.cut(n_known))
        new = torch.tensor([shared[n_known:]], device=self._device)
        mask = torch.ones((1, len(shared)), dtype=torch.long, device=self._device)
        positions = torch.arange(n_known, len(shared), device=self._device)[None]
        self._forward(new, mask, positions, cache)
        self._prefix = kept_prefix(shared, cache)
        return self._prefix, n_known

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
