"""How far two answers to one prompt have the same tokens, and what was at stake where they part."""

from collections.abc import Sequence
from dataclasses import dataclass

from overnight.conformance.tolerance import Tolerance
from overnight.engines.choices import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one engine answered to one prompt, greedily."""

    prompt_tokens: int | None  # None where the engine does not say
    text: str
    finish_reason: str
    token_logprobs: tuple[float, ...] | None  # nats
    choices: tuple[Choice, ...] | None  # of the same tokens; None where the engine does not show them


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Where two answers have other tokens for the first time."""

    place: int  # 0-based, in tokens that are compared
    gaps: tuple[float | None, ...]
    """By how many nats an engine found the other's token less likely than its own, of each engine that shows its
    choices; None where the other's token is not among them. Where the other's token is not known (an engine shows no
    ids, or leaves out tokens inside a character), the gap to the second best: at most the one that is meant."""

    def is_tie(self, tolerance: Tolerance) -> bool:
        """True where both tokens are as good as equally likely, by every engine that shows its choices."""
        return bool(self.gaps) and all(gap is not None and gap <= tolerance.token for gap in self.gaps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """The tokens that two answers share."""

    places: tuple[tuple[int, int], ...]  # of each shared token that both give a log-probability of
    parting: Parting | None  # None where the answers are the same


def align(first: Answer, second: Answer) -> Aligned:
    """Return what two answers share: by ids where both show them, else by the text."""
    is_same = (first.text, first.finish_reason) == (second.text, second.finish_reason)
    if first.choices is not None and second.choices is not None:
        return _by_ids(first.choices, second.choices, is_same=is_same)
    shown, text = (first, second.text) if first.choices is not None else (second, first.text)
    choices = shown.choices or ()
    n_shared = len(choices) if is_same else _n_shared(choices, text)
    n_plain = _n_plain(choices[:n_shared])
    limits = [len(each.token_logprobs) for each in (first, second) if each.token_logprobs is not None]
    gaps = (_lead(choices[n_shared]),) if n_shared < len(choices) else ()
    return Aligned(
        places=tuple((place, place) for place in range(min([n_plain, *limits]))),
        parting=None if is_same else Parting(place=n_shared, gaps=gaps),
    )


def _by_ids(ours: Sequence[Choice], theirs: Sequence[Choice], *, is_same: bool) -> Aligned:
    places: list[tuple[int, int]] = []
    one = other = 0
    while True:
        # llama.cpp leaves out tokens behind which a character is not whole; nothing can be said of them.
        left_out = [*_inside(ours, one), *_inside(theirs, other)]
        one, other = one + len(_inside(ours, one)), other + len(_inside(theirs, other))
        if one >= len(ours) or other >= len(theirs):
            break
        if ours[one].token_id != theirs[other].token_id:
            break
        places.append((one, other))
        one, other = one + 1, other + 1
    has_ended = one >= len(ours) or other >= len(theirs)
    if is_same and has_ended:  # the token that ends an answer may be missing in one of them
        return Aligned(places=tuple(places), parting=None)
    gaps: tuple[float | None, ...] = ()
    if left_out:
        gaps = (min(_lead(choice) for choice in left_out),)
    elif not has_ended:
        gaps = (ours[one].gap_to(theirs[other].token_id), theirs[other].gap_to(ours[one].token_id))
    return Aligned(places=tuple(places), parting=Parting(place=len(places), gaps=gaps))


def _inside(choices: Sequence[Choice], place: int) -> list[Choice]:
    """Return the tokens from a place on that end inside a character."""
    found = []
    for choice in choices[place:]:
        if choice.is_whole:
            break
        found.append(choice)
    return found


def _lead(choice: Choice) -> float:
    """Return by how many nats the best token leads the second best."""
    return choice.best[0][1] - choice.best[1][1] if len(choice.best) > 1 else float("inf")


def _n_shared(choices: Sequence[Choice], text: str) -> int:
    """Return how many tokens a text begins with."""
    wanted = text.encode("utf-8", "replace")
    begun = b""
    for n_tokens, choice in enumerate(choices):
        begun += choice.piece or b""
        if choice.piece is None or not wanted.startswith(begun):
            return n_tokens
    return len(choices)


def _n_plain(choices: Sequence[Choice]) -> int:
    """Return how many tokens there are before the first character that may take several, and have places left out."""
    for n_tokens, choice in enumerate(choices):
        if choice.piece is None or not choice.piece.isascii():
            return n_tokens
    return len(choices)
