"""Evaluating the prompts of a batch: what begins alike once, what is of one length together, all into one cache."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from overnight.engines.transformers.keys_values import (
    NO_PREFIX,
    Prefix,
    kept_prefix,
    new_cache,
    put_rows,
    shares_prefixes,
)
from overnight.engines.transformers.sharing import (
    FORWARD_TOKENS,
    SHORTEST_PREFIX,
    Family,
    Ids,
    common_length,
    families,
    of_one_length,
)

_MOST_PREFIXES = 4  # kept for the next batch: both arms, with and without a passage


class Forward:
    """One pass through a model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        takes = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self._takes_positions = "position_ids" in takes

    def __call__(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
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


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Prompts that wait for their first token; rows are in the order of the prompts."""

    logits: Tensor  # (rows, vocabulary)
    cache: Any
    mask: Tensor  # (rows, all tokens)
    positions: Tensor  # (rows, 1), of the last token of each prompt
    cached_tokens: tuple[int, ...]  # of each prompt, evaluated with another one


class Prefiller:
    """Evaluates prompts with one model.

    Args:
        model: on its device.
        forward: a pass through it.
        share_prefixes: evaluate once what prompts begin with, and keep it for the next batch.
    """

    def __init__(self, model: Any, forward: Forward, *, share_prefixes: bool) -> None:
        self._config = model.config
        self._device: torch.device = model.device
        self._forward = forward
        self._shares = share_prefixes and shares_prefixes(new_cache(model.config, 1))
        self._prefixes: list[Prefix] = []  # the last one that was made at the end

    def forget(self) -> None:
        """Give the memory of the kept prefixes back."""
        self._prefixes = []

    def evaluate(self, prompts: Sequence[Ids], room: int, *, alone: bool) -> Evaluated:
        """Evaluate all prompts.

        Args:
            prompts: of the rows.
            room: tokens that each row may come to have.
            alone: nothing is shared, with each other or with what was kept.
        """
        if alone or not self._shares:
            everybody = tuple(range(len(prompts)))
            return self._pass(prompts, everybody, NO_PREFIX, room, (0,) * len(prompts))
        cached = [0] * len(prompts)
        passes: list[tuple[Prefix, list[int]]] = []
        for family in families(prompts):
            prefix, n_known = self._prefix_of(family, prompts)
            for place in family.places:
                cached[place] = len(prefix.ids)
            cached[family.places[0]] = n_known
            rests = [len(prompts[place]) - len(prefix.ids) for place in family.places]
            passes += [(prefix, places) for places in of_one_length(family.places, rests)]
        if len(passes) == 1:
            return self._pass(prompts, range(len(prompts)), passes[0][0], room, tuple(cached))
        return self._gathered(prompts, passes, room, tuple(cached))

    def _gathered(
        self,
        prompts: Sequence[Ids],
        passes: Sequence[tuple[Prefix, Sequence[int]]],
        room: int,
        cached_tokens: tuple[int, ...],
    ) -> Evaluated:
        """Evaluate pass by pass, and put the rows of each into one cache, with their last tokens side by side."""
        n_tokens = max(map(len, prompts))
        cache = new_cache(self._config, room)
        mask = torch.zeros((len(prompts), n_tokens), dtype=torch.long, device=self._device)
        logits: list[Tensor] = []
        for prefix, places in passes:
            longest = max(len(prompts[place]) for place in places)
            part = self._pass(prompts, places, prefix, longest, cached_tokens)
            rows = torch.tensor(places, device=self._device)
            mask[rows, n_tokens - longest :] = part.mask
            put_rows(cache, rows, part.cache, n_rows=len(prompts), n_tokens=n_tokens)
            logits.append(part.logits)
        order = torch.tensor([place for _, places in passes for place in places], device=self._device)
        positions = torch.tensor([[len(prompt) - 1] for prompt in prompts], device=self._device)
        return Evaluated(torch.cat(logits)[order.argsort()], cache, mask, positions, cached_tokens)

    def _pass(
        self,
        prompts: Sequence[Ids],
        places: Sequence[int],
        prefix: Prefix,
        room: int,
        cached_tokens: tuple[int, ...],
    ) -> Evaluated:
        """Evaluate what follows a prefix in some prompts.

        The padding is between the prefix and what follows it: on the left, where there is no prefix. It has the
        token 0, which the mask hides.
        """
        n_prefix = len(prefix.ids)
        rests = [prompts[place][n_prefix:] for place in places]
        longest = max(map(len, rests))
        ids = torch.tensor([[0] * (longest - len(rest)) + list(rest) for rest in rests])
        mask = torch.tensor([[1] * n_prefix + [0] * (longest - len(r)) + [1] * len(r) for r in rests])
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)[:, n_prefix:].to(self._device)
        mask = mask.to(self._device)
        cache = new_cache(self._config, room, prefix, len(rests))
        logits = self._forward(ids.to(self._device), mask, positions, cache)
        return Evaluated(logits, cache, mask, positions[:, -1:], cached_tokens)

    def _prefix_of(self, family: Family, prompts: Sequence[Ids]) -> tuple[Prefix, int]:
        """Return what a family begins with, evaluated, and how many tokens of it were evaluated before."""
        one, *others = (prompts[place] for place in family.places)
        shared = one[: family.n_shared]
        known = max(self._prefixes, key=lambda kept: common_length(kept.ids, shared), default=NO_PREFIX)
        n_known = common_length(known.ids, shared)
        is_known = n_known >= SHORTEST_PREFIX
        if is_known and len(others) * (len(shared) - n_known) <= FORWARD_TOKENS:
            shared = shared[:n_known]  # a pass for the rest of it would cost more than it saves
        elif not others:
            shared = ()  # nobody to share it with
        if n_known >= len(shared):
            return (known.cut(len(shared)), len(shared)) if shared else (NO_PREFIX, 0)
        cache = new_cache(self._config, len(shared), known.cut(n_known))
        mask = torch.ones((1, len(shared)), dtype=torch.long, device=self._device)
        positions = torch.arange(n_known, len(shared), device=self._device)[None]
        self._forward(torch.tensor([shared[n_known:]], device=self._device), mask, positions, cache)
        made = kept_prefix(shared, cache)
        left = [
            kept for kept in self._prefixes if kept.ids != shared[: len(kept.ids)]
        ]  # those it does not hold
        self._prefixes = [*left, made][-_MOST_PREFIXES:]
        return made, n_known
