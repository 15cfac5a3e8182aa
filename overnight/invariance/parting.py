"""Where two answers to one request part, and whether the model could not tell the two tokens apart there."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from overnight.engines.protocol import Completion, Step, Token


class Kind(StrEnum):
    """What a second answer says about the first one."""

    IDENTICAL = "identical"
    TIE = "tie"  # they part where the two tokens are as good as equally likely
    REAL = "real"  # they part where they are not
    NOT_KNOWN = "not_known"  # they differ, and what the engine says does not tell which of the two it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """The first token in which two answers differ."""

    step: int | None  # 0-based, of the answer that was given alone
    gap: (
        float | None
    )  # nats: log-probability of its token less that of the other answer's, both when asked alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A kind with its reasons."""

    kind: Kind
    parting: Parting | None = None
    why: str | None = None  # not known


def judge(
    alone: Completion,
    text: str,
    finish_reason: str,
    *,
    temperature: float,
    stop: Sequence[str],
    tie_gap: float,
) -> Judgement:
    """Compare the answer that was given alone with the one in the trial.

    A difference is a tie or a real one by the gap where the likeliest token was to be taken. A drawn token depends on
    where the random number falls between the cumulative probabilities, which the gap says nothing about.

    Args:
        alone: the second answer, with its steps where the engine gives them.
        text: of the first answer.
        finish_reason: of the first answer.
        temperature: of both.
        stop: texts that end an answer and are cut off.
        tie_gap: nats.
    """
    if alone.text == text and alone.finish_reason.value == finish_reason:
        return Judgement(kind=Kind.IDENTICAL)
    if not alone.steps:
        return Judgement(kind=Kind.NOT_KNOWN, why="the engine gives no alternatives")
    parting = part(alone.steps, text, stop)
    if temperature > 0:
        return Judgement(kind=Kind.NOT_KNOWN, parting=parting, why="the tokens were drawn at random")
    if parting.gap is None:
        why = "the token of the answer in the trial is not among the alternatives"
        if parting.step is None:
            why = "the answers end for different reasons and have the same text"
        elif parting.step == len(alone.steps):
            why = "the engine does not show the step that ended the answer"
        return Judgement(kind=Kind.NOT_KNOWN, parting=parting, why=why)
    return Judgement(kind=kind_of(parting.gap, tie_gap), parting=parting)


def kind_of(gap: float, tie_gap: float) -> Kind:
    """Return which kind of difference a gap is, both in nats."""
    return Kind.TIE if abs(gap) < tie_gap else Kind.REAL


def part(steps: Sequence[Step], text: str, stop: Sequence[str] = ()) -> Parting:
    """Return where a text leaves the steps of an answer.

    Of the text no tokens are known: the parting is at the first step whose piece does not go on with it, and the
    text's token there is the likeliest alternative that does, or that ends the answer where the text ends.

    Args:
        steps: of one answer.
        text: the other answer.
        stop: texts that end an answer and are cut off.
    """
    whole = _bytes(text)
    stops = [_bytes(each) for each in stop]
    written = b""
    for number, step in enumerate(steps):
        taken = step.taken
        after, is_over = _after(written, taken, stops)
        if is_over and after == whole:
            return Parting(step=None, gap=None)
        if is_over or not whole.startswith(after):
            others = [
                other.logprob
                for other in step.likeliest
                if (other.piece, other.ends) != (taken.piece, taken.ends)
                and _leads_to(whole, written, other, stops)
            ]
            return Parting(step=number, gap=taken.logprob - max(others) if others else None)
        written = after
    return Parting(step=None if written == whole else len(steps), gap=None)


def _leads_to(whole: bytes, written: bytes, token: Token, stops: Sequence[bytes]) -> bool:
    after, is_over = _after(written, token, stops)
    return after == whole if is_over else bool(token.piece) and whole.startswith(after)


def _after(written: bytes, token: Token, stops: Sequence[bytes]) -> tuple[bytes, bool]:
    """Return the text with a token, and True where that is all of it."""
    if token.ends:
        return written, True
    text = written + token.piece
    places = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
