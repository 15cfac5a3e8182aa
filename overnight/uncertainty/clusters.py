"""Which sampled answers mean the same."""

from collections.abc import Callable, Sequence

from overnight.records import AnswerRule
from overnight.scoring.normalise import normalise, normalise_triviaqa
from overnight.scoring.numbers import reply_number

ClusterIds = tuple[int, ...]  # [n_samples], 0-based in the order in which the clusters begin
Entails = Callable[[int, int], bool]  # whether sample i entails sample j


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
    firsts: list[int] = []
    ids: list[int] = []
    for sample in range(n_samples):
        joins = (
            number for number, first in enumerate(firsts) if entails(first, sample) and entails(sample, first)
        )
        found = next(joins, len(firsts))
        if found == len(firsts):
            firsts.append(sample)
        ids.append(found)
    return tuple(ids)


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
