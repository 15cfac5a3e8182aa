"""Which sampled answers mean the same."""

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from overnight.records import AnswerRule
from overnight.scoring.normalise import normalise, normalise_triviaqa
from overnight.scoring.numbers import reply_number
from overnight.uncertainty.relevance import Pair, Progress, text_after

ClusterIds = tuple[int, ...]  # [n_samples], 0-based in the order in which the clusters begin
Entails = Callable[[int, int], bool]  # whether sample i entails sample j
# Yields two samples, is sent whether the first entails the second, and returns the clusters.
Clustering = Generator[tuple[int, int], bool, ClusterIds]


class Entailment(Protocol):
    """A model that says whether one text follows from another."""

    @property
    def name(self) -> str:
        """What it is called in results."""
        ...

    @property
    def revision(self) -> str:
        """What changes with its weights, its settings or how its output becomes a verdict."""
        ...

    def __call__(self, pairs: Sequence[Pair]) -> Sequence[bool]:
        """Return ``[n_pairs]``, in order: whether the other text follows from the one."""
        ...


def cluster_by_entailment(n_samples: int, entails: Entails) -> ClusterIds:
    """Return the cluster of each sample: it joins the first one whose first member it entails and is entailed by.

    The relation need not be transitive, so the order of the samples may matter; here it is theirs.

    Args:
        n_samples: how many there are.
        entails: of two indices, whether the first sample entails the second; of a boolean matrix ``m`` of shape
            ``[n_samples, n_samples]`` it is ``lambda i, j: bool(m[i][j])``.

    Source:
        Kuhn, Gal, Farquhar (2023), ICLR, arXiv:2302.09664, bidirectional entailment clustering.
    """
    clustering = _Running(n_samples)
    while clustering.ids is None:
        clustering.answer(entails(*clustering.asked))
    return clustering.ids


def clusters_of(
    samples: Sequence[tuple[str, Sequence[str]]],
    entailment: Entailment,
    *,
    progress: Progress | None = None,
) -> list[ClusterIds]:
    """Return for each item the cluster of each of its samples, as ``cluster_by_entailment`` finds them.

    All items take a step at a time, and what their steps ask goes to the model in one call. Nobody is asked whether
    a text entails itself.

    Args:
        samples: x, the text before each answer of an item (the question; empty: the answers stand alone), and the
            answers.
        entailment: the model.
        progress: told after each call of the model.

    Raises:
        ValueError: the model gave another number of verdicts.
    """
    running = [_Running(len(texts)) for _, texts in samples]
    open_items = [number for number, each in enumerate(running) if each.ids is None]
    while open_items:
        asked = {number: _pair(*samples[number], *running[number].asked) for number in open_items}
        unlike = {number: pair for number, pair in asked.items() if pair.one != pair.other}
        pairs = list(dict.fromkeys(unlike.values()))
        verdicts = list(entailment(pairs)) if pairs else []
        if len(verdicts) != len(pairs):
            raise ValueError(f"{entailment.name} gave {len(verdicts)} verdicts for {len(pairs)} pairs")
        said = dict(zip(pairs, verdicts, strict=True))
        for number in open_items:
            running[number].answer(said[unlike[number]] if number in unlike else True)
        open_items = [number for number in open_items if running[number].ids is None]
        if progress is not None:
            progress(len(samples) - len(open_items), len(samples))
    return [each.ids or () for each in running]


class _Running:
    """A clustering that is under way."""

    def __init__(self, n_samples: int) -> None:
        self._clustering = _clustering(n_samples)
        self.ids: ClusterIds | None = None  # once it is done
        self.asked = (0, 0)  # until then: of two samples, whether the first entails the second
        self._take(lambda: next(self._clustering))

    def answer(self, is_entailed: bool) -> None:
        """Go on to the next question."""
        self._take(lambda: self._clustering.send(is_entailed))

    def _take(self, step: Callable[[], tuple[int, int]]) -> None:
        try:
            self.asked = step()
        except StopIteration as done:
            self.ids = done.value


def _clustering(n_samples: int) -> Clustering:
    firsts: list[int] = []
    ids: list[int] = []
    for sample in range(n_samples):
        for number, first in enumerate(firsts):
            if (yield first, sample) and (yield sample, first):
                ids.append(number)
                break
        else:
            ids.append(len(firsts))
            firsts.append(sample)
    return tuple(ids)


def _pair(x: str, texts: Sequence[str], one: int, other: int) -> Pair:
    return Pair(text_after(x, texts[one]), text_after(x, texts[other]))


def cluster_by_words(texts: Sequence[str], rule: AnswerRule = AnswerRule.SQUAD) -> ClusterIds:
    """Return the cluster of each sample where those are the same that the rule of the dataset calls equal.

    A stand-in where no entailment model can be had: "Paris" and "It is Paris" are two clusters here. Under the
    numeric rule two replies are the same that end on one number, and those without a number are one cluster.
    """
    keys: dict[object, int] = {}
    return tuple(keys.setdefault(_key(text, rule), len(keys)) for text in texts)


def _key(text: str, rule: AnswerRule) -> object:
    match rule:
        case AnswerRule.SQUAD:
            return normalise(text)
        case AnswerRule.TRIVIAQA:
            return normalise_triviaqa(text)
        case AnswerRule.NUMERIC:
            return reply_number(text)
