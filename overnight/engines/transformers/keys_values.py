"""Keys and values: with room for the answers from the start, and those of a shared prefix kept for the next batch."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A layer's keys and values in one piece of memory that holds the whole answer.

    ``DynamicLayer`` copies all of them for every token. This one also fails before the first token, and not in the
    middle of an answer, where the memory is too small.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room  # tokens
        self._held: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append the states of new tokens (rows, heads, tokens, dimensions) and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        n_before = self.get_seq_length()
        n_after = n_before + key_states.shape[-2]
        if self._held is None or n_after > self._held[0].shape[-2]:
            room = max(n_after, self._room)
            held = tuple(
                states.new_empty((*states.shape[:2], room, states.shape[3]))
                for states in (key_states, value_states)
            )
            if n_before:
                held[0][:, :, :n_before] = self.keys
                held[1][:, :, :n_before] = self.values
            self._held = held[0], held[1]
        self._held[0][:, :, n_before:n_after] = key_states
        self._held[1][:, :, n_before:n_after] = value_states
        self._show(n_after)
        return self.keys, self.values

    def begin(self, rows: int, like: Tensor, n_tokens: int) -> None:
        """Take room for rows of as many tokens, all of them empty.

        Args:
            rows: how many.
            like: keys of other rows, (any rows, heads, any tokens, dimensions).
            n_tokens: that each row has now.
        """
        self.lazy_initialization(like, like)
        room = max(n_tokens, self._room)
        # Zeros: what the mask hides is still multiplied by 0, and what lies in memory may be no number.
        held = [like.new_zeros((rows, like.shape[1], room, like.shape[3])) for _ in range(2)]
        self._held = held[0], held[1]
        self._show(n_tokens)

    def put(self, rows: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put other keys and values at the end of some rows."""
        self.keys[rows, :, -keys.shape[-2] :] = keys
        self.values[rows, :, -values.shape[-2] :] = values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep some rows."""
        if self._held is None:
            return
        n_tokens = self.get_seq_length()
        rows = beam_idx.to(self._held[0].device)
        self._held = self._held[0].index_select(0, rows), self._held[1].index_select(0, rows)
        self._show(n_tokens)

    def _show(self, n_tokens: int) -> None:
        assert self._held is not None  # noqa: S101 - narrows a type
        self.keys = self._held[0][:, :, :n_tokens]
        self.values = self._held[1][:, :, :n_tokens]


@dataclass(frozen=True, slots=True)
class Prefix:
    """Tokens that many prompts begin with, and the keys and values of each layer, of one row."""

    ids: tuple[int, ...]
    layers: tuple[tuple[Tensor, Tensor], ...]

    def cut(self, n_tokens: int) -> "Prefix":
        """Return its first tokens."""
        layers = tuple((keys[:, :, :n_tokens], values[:, :, :n_tokens]) for keys, values in self.layers)
        return Prefix(self.ids[:n_tokens], layers)


NO_PREFIX = Prefix((), ())


def new_cache(config: Any, room: int, prefix: Prefix = NO_PREFIX, rows: int = 1) -> DynamicCache:
    """Return a cache whose rows all begin with a prefix.

    Args:
        config: of the model.
        room: tokens that each row may have.
        prefix: its keys and values are given to each row.
        rows: how many.
    """
    cache = DynamicCache(config=config)
    if shares_prefixes(cache):
        cache.layers = [RoomyLayer(room) for _ in cache.layers]
    for layer, (keys, values) in enumerate(prefix.layers):
        cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
    return cache


def put_rows(cache: DynamicCache, rows: Tensor, part: DynamicCache, *, n_rows: int, n_tokens: int) -> None:
    """Put the rows of one cache into another one, with their last tokens side by side.

    Args:
        cache: new, or with other rows put into it.
        rows: where the rows of the part go.
        part: a cache of layers like those, of at most as many tokens.
        n_rows: of the cache in the end.
        n_tokens: of each of them.
    """
    for layer, source in zip(cache.layers, part.layers, strict=True):
        if not layer.is_initialized:
            layer.begin(n_rows, source.keys, n_tokens)
        layer.put(rows, source.keys, source.values)


def repeated(cache: Any, rows: Sequence[int], room: int) -> Any:
    """Return a cache of its own with rows of another one, each as often as it is named.

    Args:
        cache: stays as it is.
        rows: of that cache, in their order.
        room: tokens that each row may come to have.
    """
    if not shares_prefixes(cache):
        copied = copy.deepcopy(cache)
        copied.reorder_cache(torch.tensor(rows))
        return copied
    made = DynamicCache()
    made.layers = [RoomyLayer(room) for _ in cache.layers]
    for place, layer in enumerate(cache.layers):
        made.update(layer.keys[list(rows)], layer.values[list(rows)], place)
    return made


def shares_prefixes(cache: DynamicCache) -> bool:
    """True where all layers attend to all tokens.

    The padding between a shared prefix and the rest of a shorter prompt would push the prefix out of a sliding
    window, and a recurrent state is not made of tokens.
    """
    return bool(cache.layers) and all(type(layer) in (DynamicLayer, RoomyLayer) for layer in cache.layers)


def kept_prefix(ids: Sequence[int], cache: DynamicCache) -> Prefix:
    """Return a prefix that a cache of one row holds."""
    layers = tuple((layer.keys, layer.values) for layer in cache.layers)
    return Prefix(tuple(ids), layers)


def keep_rows(cache: DynamicCache, rows: Sequence[int], device: torch.device) -> None:
    """Take all other rows out of a cache."""
    cache.reorder_cache(torch.tensor(rows, dtype=torch.long, device=device))
