"""Whether the passage bears out what a reply claims."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from overnight.records import ReplyKind
from overnight.scoring.normalise import normalise

Strategy = Literal["overlap", "baseline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsupportedRule:
    """When a claim counts as borne out by its passage.

    ``overlap`` asks for a share of the reply's words, ``baseline`` for the whole reply as one run of words.

    Raises:
        ValueError: the strategy is unknown, or the overlap is outside (0, 1]; at 0 nothing could fail.
    """

    strategy: Strategy = "overlap"
    min_token_overlap: float = 0.6  # a share of the reply's words; read by "overlap" alone

    def __post_init__(self) -> None:
        """Refuse a rule that cannot be applied."""
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"unsupported-claim strategy {self.strategy!r}; use one of {get_args(Strategy)}")
        if not 0.0 < self.min_token_overlap <= 1.0:
            raise ValueError(f"min_token_overlap is {self.min_token_overlap}; it must lie in (0, 1]")


def unsupported(reply: str, kind: ReplyKind, context: str, rule: UnsupportedRule) -> float | None:
    """Return 1.0 where the passage does not bear out the reply, 0.0 where it does.

    Returns:
        None where nothing is claimed: the reply abstains, is empty, or has no words after normalisation.
    """
    claimed = normalise(reply)
    if kind is not ReplyKind.ANSWER or not claimed:
        return None
    if rule.strategy == "baseline":
        return float(f" {claimed} " not in f" {_normalised(context)} ")  # whole words: no "art" in "party"
    return float(token_overlap(reply, context) < rule.min_token_overlap)


def token_overlap(reply: str, context: str) -> float:
    """Return the share in [0, 1] of the reply's words that occur in the context; 0.0 for no words.

    Words are normalised; a word that the reply repeats counts each time.
    """
    words = normalise(reply).split()
    known = _words(context)
    return sum(word in known for word in words) / len(words) if words else 0.0


# One passage serves both arms, all draws and often several questions in a row.
@lru_cache(maxsize=256)
def _normalised(context: str) -> str:
    return normalise(context)


@lru_cache(maxsize=256)
def _words(context: str) -> frozenset[str]:
    return frozenset(_normalised(context).split())
