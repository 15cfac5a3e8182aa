"""Which tokens of a text have their state taken, by a rule that looks at nothing but the text itself."""

from overnight.ids import digest
from overnight.spec.positions import VectorPositions


def positions_of(rule: VectorPositions, n_tokens: int, first: int, text: str) -> tuple[int, ...]:
    """Return the positions that are taken of a text, none twice; nothing where it is too short.

    ``random`` is the beginning of a permutation of all that may be taken, whose steps are keyed by the seed, the text
    and the step: the i-th position depends neither on how many are taken nor on other texts. ``midpoint`` is the token
    in the middle, or the first that may be taken where that one stands before it.

    Args:
        rule: how they are chosen.
        n_tokens: of all of the text.
        first: the first token of the text itself, behind special tokens that stand in front of it.
        text: digest of the text.
    """
    begins = first + rule.min_pos
    n_takable = n_tokens - begins
    if n_takable <= 0:
        return ()
    if rule.policy == "last":
        return (n_tokens - 1,)
    if rule.policy == "midpoint":
        return (max(begins, (first + n_tokens - 1) // 2),)
    moved: dict[int, int] = {}  # of a shuffle (Fisher-Yates) the places that are not what they were
    taken = []
    for step in range(min(rule.per_sequence, n_takable)):
        # 256 bits: that some remainders are likelier than others cannot be seen.
        place = step + int(digest([rule.seed, text, step]), 16) % (n_takable - step)
        taken.append(begins + moved.get(place, place))
        moved[place] = moved.get(step, step)
    return tuple(taken)


def why_none(rule: VectorPositions, n_tokens: int, first: int) -> str:
    """Return why nothing is taken of a text that is too short."""
    return f"it has {n_tokens - first} tokens, and {rule.min_pos} come before the first that may be taken"
