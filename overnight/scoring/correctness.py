"""How close a prediction comes to its gold answers, in words."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from overnight.records import AnswerRule
from overnight.scoring.normalise import normalise, normalise_triviaqa

_NORMALISERS = {AnswerRule.SQUAD: normalise, AnswerRule.TRIVIAQA: normalise_triviaqa}


def exact_match(prediction: str, golds: Iterable[str], rule: AnswerRule = AnswerRule.SQUAD) -> float:
    """Return 1.0 where the normalised prediction equals a normalised gold answer, else 0.0.

    Under the SQuAD rule, golds of which nothing is left are dropped. TriviaQA's evaluator keeps them: the
    alias "The The" is matched by any reply of which nothing is left either. With no gold left, the one right
    prediction is the empty one.

    Raises:
        KeyError: the rule compares numbers, not words; see `overnight.scoring.numbers`.

    Source:
        ``compute_exact`` and ``get_raw_scores`` of the official SQuAD 2.0 evaluator; ``exact_match_score`` and
        ``metric_max_over_ground_truths`` of the official TriviaQA evaluator.
    """
    return float(_NORMALISERS[rule](prediction) in _targets(tuple(golds), rule))


def token_f1(prediction: str, golds: Iterable[str], rule: AnswerRule = AnswerRule.SQUAD) -> float:
    """Return the best F1 in [0, 1] over the golds, on bags of normalised words.

    A word counts as often as it occurs on both sides. Two empty bags score 1, one empty bag scores 0; golds
    are treated as in `exact_match`.

    Raises:
        KeyError: the rule compares numbers, not words.

    Source:
        ``compute_f1`` of the official SQuAD 2.0 evaluator; ``f1_score`` of the official TriviaQA evaluator with
        one deviation: that one gives two empty bags 0, though its exact match gives them 1.
    """
    predicted = _NORMALISERS[rule](prediction).split()
    return max(_bag_f1(predicted, target.split()) for target in _targets(tuple(golds), rule))


# An item is scored once an arm and draw, and may have dozens of aliases.
@lru_cache(maxsize=256)
def _targets(golds: tuple[str, ...], rule: AnswerRule) -> tuple[str, ...]:
    normalised = (_NORMALISERS[rule](gold) for gold in golds)
    if rule is AnswerRule.TRIVIAQA:
        return tuple(normalised) or ("",)
    return tuple(target for target in normalised if target) or ("",)


def _bag_f1(predicted: list[str], wanted: list[str]) -> float:
    if not predicted or not wanted:
        return float(predicted == wanted)
    n_common = (Counter(predicted) & Counter(wanted)).total()
    # 2PR / (P + R), with P = common / predicted and R = common / wanted
    return 2 * n_common / (len(predicted) + len(wanted))
