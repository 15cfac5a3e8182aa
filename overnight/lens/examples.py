"""What a lens learns from: vectors of texts, and the end of the text that each was read at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from overnight.best_of_k.positions import positions_of
from overnight.errors import UsageError
from overnight.ids import digest
from overnight.spec.positions import VectorPositions

_FEWEST_TEXTS = 2  # one to learn from, one to measure on


@dataclass(frozen=True, slots=True)
class Source:
    """A text, as the model reads it."""

    digest: str  # of the text
    ids: tuple[int, ...]
    first: int  # of these, the first that is of the text itself


@dataclass(frozen=True, slots=True)
class Example:
    """A vector to be, and what stands in its text up to there."""

    source: int  # place of its text
    position: int
    window: tuple[int, ...]  # the tokens that end at the position, at least one

    @property
    def n_before(self) -> int:
        """Tokens of the window before its last."""
        return len(self.window) - 1


def different(texts: Iterable[str]) -> list[str]:
    """Return texts in their order, each once: a passage is asked about several times in some datasets."""
    return list(dict.fromkeys(texts))


def read_sources(texts: Sequence[str], token_ids: Sequence[Sequence[int]], n_special: int) -> list[Source]:
    """Return texts with their tokens, of which the first few are special ones."""
    return [
        Source(digest(text), tuple(ids), n_special)
        for text, ids in zip(texts, token_ids, strict=True)
        if len(ids) > n_special
    ]


def examples_of(sources: Sequence[Source], rule: VectorPositions, text_tokens: int) -> list[Example]:
    """Return the examples of some texts, text by text, in the order in which positions are taken."""
    return [
        Example(place, position, source.ids[max(source.first, position + 1 - text_tokens) : position + 1])
        for place, source in enumerate(sources)
        for position in positions_of(rule, len(source.ids), source.first, source.digest)
    ]


def held_out(sources: Sequence[Source], share: float, seed: int) -> frozenset[int]:
    """Return the places of the texts that are held out: at least one, and not all.

    Which ones depends on each text by itself, by the order of digests.

    Raises:
        UsageError: there are too few texts.
    """
    if len(sources) < _FEWEST_TEXTS:
        raise UsageError(
            f"fit.datasets: found {len(sources)} texts to fit a lens on, wanted {_FEWEST_TEXTS} or more; some of them "
            "are only measured on"
        )
    n_held = min(len(sources) - 1, max(1, round(share * len(sources))))
    order = sorted(range(len(sources)), key=lambda place: digest([seed, "held out", sources[place].digest]))
    return frozenset(order[:n_held])
