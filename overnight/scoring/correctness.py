"""How close a prediction comes to its gold answers."""

from collections import Counter
from collections.abc import Iterable

from overnight.scoring.normalise import normalise


def exact_match(prediction: str, golds: Iterable[str]) -> float:
    """Return 1.0 where the normalised prediction equals a normalised gold answer, else 0.0.

    Golds of which nothing is left are dropped; with no gold left, the one right prediction is the empty one.

    Source:
        ``compute_exact`` and ``get_raw_scores`` of the official SQuAD 2.0 evaluator.
    """
    return float(normalise(prediction) in _targets(golds))


def token_f1(prediction: str, golds: Iterable[str]) -> float:
    """Return the best F1 in [0, 1] over the golds, on bags of normalised words.

    A word counts as often as it occurs on both sides. Two empty bags score 1, one empty bag scores 0; golds
    are treated as in `exact_match`.

    Source:
        ``compute_f1`` of the official SQuAD 2.0 evaluator.
    """
    predicted = normalise(prediction).split()
    return max(_bag_f1(predicted, target.split()) for target in _targets(golds))


def _targets(golds: Iterable[str]) -> list[str]:
    return [target for gold in golds if (target := normalise(gold))] or [""]


def _bag_f1(predicted: list[str], wanted: list[str]) -> float:
    if not predicted or not wanted:
        return float(predicted == wanted)
    n_common = (Counter(predicted) & Counter(wanted)).total()
    # 2PR / (P + R), with P = common / predicted and R = common / wanted
    return 2 * n_common / (len(predicted) + len(wanted))
