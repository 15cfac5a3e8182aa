"""How much of what an answer says is lost without one of its tokens."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from overnight.uncertainty.answer import CountedAnswer, without_span

Progress = Callable[[int, int], None]  # of items: how many are done, how many there are
_PAIRS_AT_ONCE = 1024


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
        (number, place): Pair(
            text_after(x, answer.text), text_after(x, without_span(answer.text, token.span))
        )
        for number, (x, answer) in enumerate(answers)
        for place, token in enumerate(answer.tokens)
        if not token.span.is_empty
    }
    scores = dict(zip(pairs, checked_scores(similarity, list(pairs.values())), strict=True)) if pairs else {}
    return [
        tuple(1.0 - scores.get((number, place), 1.0) for place in range(len(answer.tokens)))
        for number, (_, answer) in enumerate(answers)
    ]


def relevance_of(
    answers: Sequence[tuple[str, CountedAnswer]],
    similarity: Similarity,
    *,
    progress: Progress | None = None,
    pairs_at_once: int = _PAIRS_AT_ONCE,
) -> list[tuple[float, ...]]:
    """Return for each answer ``[n_counted]`` relevances of its tokens, in order; see ``token_relevance``.

    Long texts are asked first and like ones together, some thousand pairs at a time.

    Args:
        answers: x, the text before the answer, and the answer.
        similarity: g.
        progress: told after each call of the model.
        pairs_at_once: that go to the model in one call, a whole answer at least.

    Raises:
        ValueError: the model gave another number of scores, or one outside [0, 1].
    """
    found: list[tuple[float, ...]] = [()] * len(answers)
    n_done = 0
    places = sorted(
        range(len(answers)), key=lambda place: -len(text_after(answers[place][0], answers[place][1].text))
    )
    for group in _groups(places, [len(answer.tokens) for _, answer in answers], pairs_at_once):
        own = token_relevance([answers[place] for place in group], similarity)
        for place, relevance in zip(group, own, strict=True):
            found[place] = relevance
        n_done += len(group)
        if progress is not None:
            progress(n_done, len(answers))
    return found


def _groups(places: Sequence[int], sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield some places in their order, so many at a time that their sizes together are at most that."""
    group: list[int] = []
    size = 0
    for place in places:
        if group and size + sizes[place] > most:
            yield group
            group, size = [], 0
        group.append(place)
        size += sizes[place]
    if group:
        yield group


def text_after(x: str, text: str) -> str:
    """Return a text behind what stands before it; alone where nothing does."""
    return f"{x} {text}" if x else text
