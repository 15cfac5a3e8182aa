"""Answered questions before the one that is asked: which ones, and how many of them there is room for."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from overnight.errors import ContextOverflow, UsageError
from overnight.prompting.asking import prompt
from overnight.prompting.messages import Message
from overnight.records import Item
from overnight.spec.asking import Asking

_Content = tuple[str, str | None]


def draw_shots(pool: Iterable[Item], n: int, seed: int, asked: Iterable[Item] = ()) -> tuple[Item, ...]:
    """Return ``n`` answerable items of a pool in a random order.

    The choice depends on the seed and on the keys of the items alone, never on their order; with the same seed, fewer
    shots are the first of more. Only ``n`` items are held. No two of them ask the same.

    Args:
        pool: any number of items, one at a time.
        n: how many.
        seed: another seed is another choice.
        asked: the items of the trial, of which none is a shot, nor an item that asks the same under another id.

    Raises:
        UsageError: the pool has fewer.
    """
    if not n:
        return ()
    taken = list(asked)
    keys, contents = {item.key for item in taken}, {_content(item) for item in taken}
    best: dict[_Content, tuple[int, Item]] = {}
    n_pool = 0
    for item in pool:
        n_pool += 1
        content = _content(item)
        if item.is_unanswerable or item.key in keys or content in contents:
            continue
        lot = _lot(item, seed)
        if content not in best or lot < best[content][0]:
            best[content] = (lot, item)
            if len(best) > n:
                del best[max(best, key=lambda known: best[known][0])]
    if len(best) < n:
        raise UsageError(
            f"experiment.asking.shots: {n} are wanted, and {len(best)} of the {n_pool} items that they are drawn from "
            "can be one (it has an answer and is not asked); lower shots, or ask fewer items"
        )
    return tuple(item for _, item in sorted(best.values(), key=lambda entry: entry[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPrompt:
    """A prompt that the context has room for."""

    messages: tuple[Message, ...]
    n_shots: int
    n_dropped: int  # shots that there was no room for; above 0 the prompt is another one than was asked for
    n_tokens: int


def fit_shots(
    item: Item, shots: Sequence[Item], asking: Asking, n_tokens: Callable[[str], int], limit: int
) -> FittedPrompt:
    """Return the prompt with as many shots as there is room for; whole shots are left out, the last one first.

    Nothing is ever cut: without its beginning a prompt would lose its instruction, without its end its question.

    Args:
        item: to be asked.
        shots: in the order in which they stand.
        asking: how.
        n_tokens: counts the tokens of a text.
        limit: tokens that the text may have: the context without the answer and without what the chat template adds.

    Raises:
        ContextOverflow: the prompt does not fit without any shot either.
    """
    counted = 0
    for n_kept in range(len(shots), -1, -1):
        messages = prompt(item, shots[:n_kept], asking)
        counted = n_tokens(messages[0]["content"])
        if counted <= limit:
            n_dropped = len(shots) - n_kept
            return FittedPrompt(messages=messages, n_shots=n_kept, n_dropped=n_dropped, n_tokens=counted)
    raise ContextOverflow(
        f"{item.key}: {counted} tokens without any shot, and there is room for {limit}; raise "
        "execution.engine.context_tokens, lower max_new_tokens, or set asking.with_context to false"
    )


def _content(item: Item) -> _Content:
    return " ".join(item.question.split()).casefold(), item.context


def _lot(item: Item, seed: int) -> int:
    """Return an item's place in a random order; another one than that in which items are sampled."""
    text = f"shot|{seed}|{item.key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest())
