"""Texts of vectors: each vector is read once, and its draws are written together with those of others."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from overnight.engines.transformers.keys_values import repeated
from overnight.engines.transformers.prefilling import Evaluated, Forward
from overnight.engines.transformers.sampling import Sampling
from overnight.engines.transformers.stopping import Decode
from overnight.engines.transformers.writing import write_rows
from overnight.errors import BadResponse, UsageError
from overnight.lens.fitting_rows import FittingRows
from overnight.lens.protocol import Lens, Prefilled
from overnight.lens.request import Verbalisation, VerbaliseRequest
from overnight.lens.streams import DrawStream

Texts = list[tuple[Verbalisation, ...]]  # of each vector, in the order of the draws


@dataclass(frozen=True, slots=True)
class _Draw:
    """A text under way."""

    vector: int
    number: int  # among the draws of its vector
    sampling: Sampling
    stream: DrawStream
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class Drawer:
    """Draws texts with one model.

    Args:
        model: a causal language model of transformers, on its device, ready for inference.
        eos_ids: tokens that end a text.
        decode: ids to text, without special tokens.
        around_prefill: entered while vectors are read.
    """

    def __init__(
        self,
        model: Any,
        eos_ids: frozenset[int],
        decode: Decode,
        around_prefill: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._forward = Forward(model)
        self._eos_ids = eos_ids
        self._decode = decode
        self._device: torch.device = model.device
        self._around_prefill = around_prefill
        config = model.config.get_text_config(decoder=True)
        self._most_tokens: int | None = getattr(config, "max_position_embeddings", None)

    @torch.inference_mode()
    def draw(
        self,
        lens: Lens,
        vectors_BD: Tensor,  # noqa: N803 - the letters are its axes
        request: VerbaliseRequest,
        rows: FittingRows,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Texts | None:
        """Return the texts of some vectors; None where nobody waits for them any more.

        Which texts are drawn together changes nothing but rounding, and nor do the sizes of the batches.

        Args:
            lens: whose decoder says the vectors.
            vectors_BD: of the request.
            request: how.
            rows: texts that fit at a time.
            is_wanted: asked once a token.

        Raises:
            OutOfMemory: not even one text at a time fits.
            UsageError: the texts would be longer than the model can write.
            BadResponse: the model's logits are not numbers.
        """
        done: list[dict[int, Verbalisation]] = [{} for _ in request.keys]
        left: Sequence[int] = range(len(done))
        with lens.decoding():
            while left := [vector for vector in left if len(done[vector]) < request.n_draws]:
                if not is_wanted():
                    return None
                n_rows = rows.of(request.rows)
                n_left = sum(request.n_draws - len(done[vector]) for vector in left)
                group = left[:n_rows]

                def draw(group: Sequence[int] = group, n_rows: int = n_rows) -> None:
                    self._draw_group(lens, vectors_BD, request, group, n_rows, done, is_wanted)

                rows.fit(min(n_rows, n_left), draw)
        return [tuple(of_vector[number] for number in range(request.n_draws)) for of_vector in done]

    def _draw_group(
        self,
        lens: Lens,
        vectors_BD: Tensor,  # noqa: N803 - the letters are its axes
        request: VerbaliseRequest,
        group: Sequence[int],
        n_rows: int,
        done: list[dict[int, Verbalisation]],
        is_wanted: Callable[[], bool],
    ) -> None:
        """Read some vectors, and draw what is not there yet of their texts, so many rows at a time."""
        with self._around_prefill():
            prefilled = lens.prefill(vectors_BD[list(group)].to(self._device))
        self._require_room(prefilled, request.max_new_tokens)
        places = {vector: place for place, vector in enumerate(group)}
        sampling = Sampling(request.temperature, request.top_p, request.top_k)
        draws = (
            _Draw(
                vector,
                number,
                sampling,
                DrawStream(request.seed, request.keys[vector], number, request.max_new_tokens),
            )
            for vector in group
            for number in range(request.n_draws)
            if number not in done[vector]
        )

        def take(draw: _Draw, token: int, logprob: float, _: Tensor) -> bool:
            draw.ids.append(token)
            draw.logprobs.append(logprob)
            if token not in self._eos_ids and len(draw.ids) < request.max_new_tokens:
                return is_wanted()
            done[draw.vector][draw.number] = self._text(draw)
            return False

        while is_wanted() and (batch := list(islice(draws, n_rows))):
            started = _repeated(prefilled, [places[draw.vector] for draw in batch], request.max_new_tokens)
            write_rows(self._forward, started, batch, take)

    def _require_room(self, prefilled: Prefilled, max_new_tokens: int) -> None:
        n_tokens = prefilled.n_tokens + max_new_tokens
        if self._most_tokens is not None and n_tokens > self._most_tokens:
            raise UsageError(
                f"a text of {max_new_tokens} tokens behind the {prefilled.n_tokens} that the decoder reads is more "
                f"than the {self._most_tokens} of the model; lower text_tokens of the lens"
            )

    def _text(self, draw: _Draw) -> Verbalisation:
        logprob = math.fsum(draw.logprobs)
        if not math.isfinite(logprob):
            raise BadResponse(
                "the model's logits are not numbers; a dtype of more range (bfloat16, float32) may help"
            )
        is_ended = draw.ids[-1] in self._eos_ids
        ids = draw.ids[:-1] if is_ended else draw.ids
        return Verbalisation(
            text=self._decode(ids),
            token_ids=tuple(ids),
            n_tokens=len(draw.ids),
            logprob=logprob,
            finish_reason="stop" if is_ended else "length",
        )


def _repeated(prefilled: Prefilled, places: Sequence[int], max_new_tokens: int) -> Evaluated:
    """Return what a batch of texts begins with: the vector of each of them, by its place."""
    device = prefilled.logits.device
    shape = (len(places), prefilled.n_tokens)
    return Evaluated(
        logits=prefilled.logits[list(places)],
        cache=repeated(prefilled.cache, places, prefilled.n_tokens + max_new_tokens),
        mask=torch.ones(shape, dtype=torch.long, device=device),
        positions=torch.full((len(places), 1), prefilled.n_tokens - 1, dtype=torch.long, device=device),
        cached_tokens=(0,) * len(places),
    )
