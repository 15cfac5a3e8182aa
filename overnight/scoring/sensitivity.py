"""How the rate of unsupported claims hangs on where the line is drawn."""

from overnight.records import Item, ItemType
from overnight.scoring.score import score_reply
from overnight.scoring.support import UnsupportedRule, token_overlap

# At a threshold of 0 every claim would count as borne out, which says nothing about any reply.
THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 11))
_ANY_RULE = UnsupportedRule(strategy="overlap")


def claim_overlap(item: Item, text: str) -> float | None:
    """Return the share in [0, 1] of a claim's words that its passage has.

    Returns:
        None where nothing is claimed, as `score_reply` sees it: a closed question, an abstention, an empty
        reply.
    """
    if item.type is not ItemType.OPEN or item.context is None:
        return None
    if score_reply(item, text, _ANY_RULE).unsupported is None:
        return None
    return token_overlap(text, item.context)
