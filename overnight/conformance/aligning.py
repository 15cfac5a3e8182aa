"""How far two answers to one prompt have the same tokens, and what was at stake where they part."""

from collections.abc import Sequence
from dataclasses import dataclass

from overnight.conformance.tolerance import Tolerance
from overnight.engines.protocol import Completion, Step, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Where two answers have other tokens for the first time."""

    place: int  # 0-based, in tokens that are compared
    gaps: tuple[float | None, ...]
    """By how many nats an engine found the other's token less likely than its own, of each engine that can know;
    None where the other's token is not among its alternatives. Where that token is inside a character, the gap to the
    likeliest that may be it: at most the one that is meant."""

    def is_tie(self, tolerance: Tolerance) -> bool:
        """True where both tokens are as good as equally likely, by every engine that can know."""
        return bool(self.gaps) and all(gap is not None and gap <= tolerance.tie for gap in self.gaps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """The tokens that two answers share."""

    shared: tuple[tuple[Token, Token], ...]
    parting: Parting | None  # None where the answers are the same


def align(first: Completion, second: Completion) -> Aligned:
    """Return what two answers share, token by token; two tokens are the same where they add the same bytes.

    Engines do not show, or show without bytes, the tokens behind which a character is not whole: they are passed over
    in both answers, and the last token of a character stands for all of it.
    """
    ours, theirs = _characters(first.steps or ()), _characters(second.steps or ())
    shared: list[tuple[Token, Token]] = []
    for one, other in zip(ours, theirs, strict=False):
        if not _is_same(one[-1].taken, other[-1].taken):
            gaps = (*_gap(one, other[-1].taken), *_gap(other, one[-1].taken))
            return Aligned(shared=tuple(shared), parting=Parting(place=len(shared), gaps=gaps))
        shared.append((one[-1].taken, other[-1].taken))
    rest = [*ours[len(shared) :], *theirs[len(shared) :]]
    # The token that ends an answer may be missing in one of them.
    if first.finish_reason == second.finish_reason and all(steps[-1].taken.ends for steps in rest):
        return Aligned(shared=tuple(shared), parting=None)
    return Aligned(shared=tuple(shared), parting=Parting(place=len(shared), gaps=()))


def _characters(steps: Sequence[Step]) -> list[list[Step]]:
    """Return steps in groups, each of which ends with a token behind which the text is whole, or over."""
    groups: list[list[Step]] = []
    begun: list[Step] = []
    for step in steps:
        begun.append(step)
        if step.taken.piece or step.taken.ends:
            groups.append(begun)
            begun = []
    return groups


def _gap(steps: Sequence[Step], other: Token) -> tuple[float | None, ...]:
    """Return by how much an engine found the other's token less likely; nothing where it cannot know."""
    for step in steps:
        for token in step.likeliest:
            if _is_same(token, other):
                return (step.taken.logprob - token.logprob,)
    if steps[-1].taken.piece.isascii() and other.piece.isascii():
        return (None,)
    # The other began a character that takes several tokens, and the first of them is not known.
    begun = [token.logprob for token in steps[0].likeliest[1:] if _begins(token, other)]
    return (steps[0].taken.logprob - max(begun),) if begun else ()


def _begins(token: Token, other: Token) -> bool:
    """Return True where a token ends inside a character that may be the other's; some engines show it without bytes."""
    is_whole = bool(token.piece) and "\ufffd" not in token.piece.decode("utf-8", "replace")
    return not token.ends and not is_whole and other.piece.startswith(token.piece)


def _is_same(one: Token, other: Token) -> bool:
    return (one.piece, one.ends) == (other.piece, other.ends)
