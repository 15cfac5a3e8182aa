"""One reply against its item."""

from overnight.records import AnswerRule, Item, ItemType, ReplyKind, Score
from overnight.scoring.abstention import classify_reply
from overnight.scoring.correctness import exact_match, token_f1
from overnight.scoring.numbers import number_match
from overnight.scoring.rouge import rouge_accuracy, rouge_l
from overnight.scoring.squad import is_squad_like, squad_scores
from overnight.scoring.support import UnsupportedRule, unsupported


def score_reply(item: Item, text: str, rule: UnsupportedRule, *, with_rouge: bool = False) -> Score:
    """Compare one reply with its item.

    ================== ======================= ================= =======================
    reply              answerable              unanswerable      unsupported (open only)
    ================== ======================= ================= =======================
    an answer          em, f1 against the gold em 0, f1 0, fa 1  by the rule
    an abstention      em 0, f1 0              em 1, f1 1, fa 0  None
    empty              em 0, f1 0              em 0, f1 0, fa 0  None
    ================== ======================= ================= =======================

    ``false_answer`` (fa) is None on answerable items: nothing there can be falsely answered. A closed item
    without golds has no correctness at all. A reply that equals a gold is that answer even where it reads
    like an abstention ("unknown"), and an abstention earns no F1 for words it happens to share with a gold.

    What "against the gold" means is the item's rule: words as SQuAD or as TriviaQA compares them, or the
    number that the reply ends on. A number is right or wrong: there F1 is the exact match, and both are None
    where no gold has a number.

    ``squad_exact`` and ``squad_f1`` are the same reply as the official evaluator counts it, where it could.
    ROUGE-L looks at the words of any reply, an abstention too: in TruthfulQA "I have no comment" is right.

    Args:
        item: the question, with its rule.
        text: the reply.
        rule: when a claim is borne out by the passage.
        with_rouge: also compute ``rouge_l`` and ``rouge_accuracy``.

    Raises:
        ValueError: an open item has no context.

    Source:
        The SQuAD 2.0 evaluator, with one deviation: there an empty prediction is the right reply to an
        unanswerable question. Here it is a failure of the model, not knowledge of its ignorance; it is
        neither right nor a false answer, and is counted by ``is_empty``.
    """
    is_open = item.type is ItemType.OPEN
    if is_open and item.context is None:
        raise ValueError(f"item {item.key} is open but has no context; give it one or make it closed")

    kind = classify_reply(text)
    em: float | None
    f1: float | None
    if item.is_unanswerable:
        em = f1 = float(kind is ReplyKind.ABSTENTION) if is_open else None
    elif item.rule is AnswerRule.NUMERIC:
        em = number_match(text, item.answers)
        em = f1 = em if em is None or kind is ReplyKind.ANSWER else 0.0
    else:
        if kind is ReplyKind.ABSTENTION and exact_match(text, item.answers, item.rule):
            kind = ReplyKind.ANSWER
        is_answer = kind is ReplyKind.ANSWER
        em = exact_match(text, item.answers, item.rule) if is_answer else 0.0
        f1 = token_f1(text, item.answers, item.rule) if is_answer else 0.0

    is_abstention = kind is ReplyKind.ABSTENTION
    squad_exact, squad_f1 = (
        squad_scores(item, text, is_abstention=is_abstention) if is_squad_like(item) else (None, None)
    )
    best_right = rouge_l(text, item.answers) if with_rouge else None
    return Score(
        exact_match=em,
        f1=f1,
        is_abstention=is_abstention,
        is_empty=kind is ReplyKind.EMPTY,
        false_answer=float(kind is ReplyKind.ANSWER) if is_open and item.is_unanswerable else None,
        unsupported=None
        if item.context is None or not is_open
        else unsupported(text, kind, item.context, rule),
        squad_exact=squad_exact,
        squad_f1=squad_f1,
        rouge_l=best_right,
        rouge_accuracy=rouge_accuracy(best_right, rouge_l(text, item.wrong_answers)) if with_rouge else None,
    )
