"""How much of what an answer says is lost without one of its tokens."""

from collections.abc import MutableMapping, Sequence
from typing import NamedTuple, Protocol

from overnight.ids import digest
from overnight.uncertainty.answer import CountedAnswer, without_span


class Pair(NamedTuple):
    """Two texts to be compared."""

    one: str
    other: str


class Similarity(Protocol):
    """A model that says how alike two texts are in meaning."""

    @property
    def name(self) -> str:
        """What it is called in results."""
        ...

    @property
    def revision(self) -> str:
        """What changes with its weights, its settings or how its output becomes a score."""
        ...

    def __call__(self, pairs: Sequence[Pair]) -> Sequence[float]:
        """Return ``[n_pairs]`` scores in [0, 1], in order; 1 for the same meaning."""
        ...


class CachedSimilarity:
    """A similarity that asks its model once for each pair.

    A score is filed under the digest of both whole texts and of the model with its revision: the same answer to
    another question, or under another model, is another pair.
    """

    def __init__(self, model: Similarity, cache: MutableMapping[str, float]) -> None:
        self._model, self._cache = model, cache
        self.name, self.revision = model.name, model.revision

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """Return ``[n_pairs]`` scores in [0, 1]; pairs that are not filed go to the model in one call.

        Raises:
            ValueError: the model gave another number of scores, or one outside [0, 1].
        """
        keys = [self.key(pair) for pair in pairs]
        wanted = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in self._cache}
        if wanted:
            scores = checked_scores(self._model, list(wanted.values()))
            self._cache.update(zip(wanted, scores, strict=True))
        return [self._cache[key] for key in keys]

    def key(self, pair: Pair) -> str:
        """Return the name under which a score is filed, 64 hex digits."""
        return digest({"model": self.name, "revision": self.revision, "pair": list(pair)})


def checked_scores(model: Similarity, pairs: Sequence[Pair]) -> list[float]:
    """Return ``[n_pairs]`` scores of a model.

    Raises:
        ValueError: it gave another number of scores, or one outside [0, 1].
    """
    scores = [float(score) for score in model(pairs)]
    if len(scores) != len(pairs):
        raise ValueError(f"{model.name} gave {len(scores)} scores for {len(pairs)} pairs")
    outside = next((score for score in scores if not 0.0 <= score <= 1.0), None)
    if outside is not None:
        raise ValueError(f"{model.name} gave the score {outside}; a similarity lies in [0, 1]")
    return scores


def token_relevance(
    answers: Sequence[tuple[str, CountedAnswer]], similarity: Similarity
) -> list[tuple[float, ...]]:
    """Return for each answer ``[n_counted]`` relevances in [0, 1] of its tokens.

    R_t = 1 - g(x + " " + y, x + " " + y without the characters that token t wrote). Tokens that share a character
    take it away whole. A token that wrote nothing of the text has relevance 0: both texts are the same.

    All pairs of all answers go to the model in one call, so that it may batch them.

    Args:
        answers: x, the text before the answer (empty: the answer stands alone), and the answer.
        similarity: g. Its score is used as it is: a model whose scores run to 5 has to be scaled by who wraps it.

    Raises:
        ValueError: the model gave another number of scores, or one outside [0, 1].

    Source:
        Duan et al. (2024), ACL, arXiv:2307.01379, where the size of a g that may be negative is taken.
    """
    pairs = {
        (number, place): Pair(_after(x, answer.text), _after(x, without_span(answer.text, token.span)))
        for number, (x, answer) in enumerate(answers)
        for place, token in enumerate(answer.tokens)
        if not token.span.is_empty
    }
    scores = dict(zip(pairs, checked_scores(similarity, list(pairs.values())), strict=True)) if pairs else {}
    return [
        tuple(1.0 - scores.get((number, place), 1.0) for place in range(len(answer.tokens)))
        for number, (_, answer) in enumerate(answers)
    ]


def _after(x: str, text: str) -> str:
    return f"{x} {text}" if x else text
