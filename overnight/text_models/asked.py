"""Text-pair models as the measures of uncertainty see them: each pair is asked once, of the cache or of the model."""

from collections.abc import Callable, Sequence
from typing import Any

from overnight.store.pair_cache import PairCache, pair_key
from overnight.text_models.values import PairValues
from overnight.uncertainty.relevance import Pair

Ask = Callable[[Sequence[Pair]], list[PairValues]]
_AT_ONCE = 128  # pairs of one request; what was said of them is kept before the next ones are asked


class AskedPairs:
    """A model and what it was asked."""

    def __init__(self, name: str, revision: str, ask: Ask, kept: PairCache) -> None:
        """Ask nothing yet.

        Args:
            name: of the model.
            revision: of the model and of how its output is read.
            ask: what it says of pairs that are not kept.
            kept: what it said before.
        """
        self.name = name
        self.revision = revision
        self._ask = ask
        self._kept = kept
        self.n_computed = 0  # pairs that went to the model
        self.n_found = 0  # pairs that were known
        self.n_cut = 0  # of all of them, those that were longer than the model reads

    def values(self, pairs: Sequence[Pair]) -> list[PairValues]:
        """Return ``[n_pairs]``: what the model says of each; those of like length go to it together."""
        by_key = {pair_key(*pair): pair for pair in pairs}
        kept = {key: _values(payload) for key, payload in self._kept.find(by_key).items()}
        known = {key: found for key, found in kept.items() if found is not None}
        missing = sorted((key for key in by_key if key not in known), key=lambda key: _order(by_key[key]))
        for start in range(0, len(missing), _AT_ONCE):
            keys = missing[start : start + _AT_ONCE]
            computed = dict(zip(keys, self._ask([by_key[key] for key in keys]), strict=True))
            self._kept.keep({key: {"values": v.values, "cut": v.is_cut} for key, v in computed.items()})
            known |= computed
        self.n_computed += len(missing)
        self.n_found += len(by_key) - len(missing)
        self.n_cut += sum(known[key].is_cut for key in by_key)
        return [known[pair_key(*pair)] for pair in pairs]


def _values(payload: dict[str, Any]) -> PairValues | None:
    try:
        return PairValues([float(value) for value in payload["values"]], bool(payload["cut"]))
    except (KeyError, TypeError, ValueError):
        return None  # of no form that is known


def _order(pair: Pair) -> tuple[int, str, int]:
    """Return what brings long texts to the front, and pairs that share a text side by side."""
    return -len(pair.one), pair.one, -len(pair.other)


class TextSimilarity(AskedPairs):
    """How alike two texts are; a ``Similarity``."""

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """Return ``[n_pairs]`` scores in [0, 1], as the model gives them."""
        return [found.values[0] for found in self.values(pairs)]


class TextEntailment(AskedPairs):
    """Whether one text follows from another; an ``Entailment``."""

    def __call__(self, pairs: Sequence[Pair]) -> list[bool]:
        """Return ``[n_pairs]``: whether entailment is likelier than every other label."""
        return [found.values[0] > max(found.values[1:]) for found in self.values(pairs)]
