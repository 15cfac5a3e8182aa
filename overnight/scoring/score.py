"""One reply against its item."""

from overnight.records import Item, ItemType, ReplyKind, Score
from overnight.scoring.abstention import classify_reply
from overnight.scoring.correctness import exact_match, token_f1
from overnight.scoring.support import UnsupportedRule, unsupported


def score_reply(item: Item, text: str, rule: UnsupportedRule) -> Score:
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
    if item.is_unanswerable:
        right = float(kind is ReplyKind.ABSTENTION) if is_open else None
        em, f1 = right, right
    else:
        if kind is ReplyKind.ABSTENTION and exact_match(text, item.answers):
            kind = ReplyKind.ANSWER
        is_answer = kind is ReplyKind.ANSWER
        em = exact_match(text, item.answers) if is_answer else 0.0
        f1 = token_f1(text, item.answers) if is_answer else 0.0

    return Score(
        exact_match=em,
        f1=f1,
        is_abstention=kind is ReplyKind.ABSTENTION,
        is_empty=kind is ReplyKind.EMPTY,
        false_answer=float(kind is ReplyKind.ANSWER) if is_open and item.is_unanswerable else None,
        unsupported=None
        if item.context is None or not is_open
        else unsupported(text, kind, item.context, rule),
    )
