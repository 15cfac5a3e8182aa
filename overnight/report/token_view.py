"""Answers token by token: how likely each token was and how much the answer loses without it."""

import codecs
import hashlib
import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from markupsafe import Markup

from overnight.errors import UndefinedMetricError
from overnight.report.templating import json_script, page_environment
from overnight.report.text import visible
from overnight.uncertainty.answer import AnswerToken, GeneratedAnswer, counted_places

STYLES: Final = ("explorer.css", "tokens.css")
SCRIPT: Final = "tokens.js"  # a page names its digest in its policy
MOST_ANSWERS: Final = 400  # of a page, over all its trials
MOST_TOKENS: Final = 400  # of one answer
_MOST_CHARS: Final = 1000  # of a question or a gold answer
UNCOUNTED, ENDS, PART = 1, 2, 4  # bits of a token's flags, as `tokens.js` reads them

# Where one colour ends and the next begins. Those of surprise are the probabilities below, in nats.
PROBABILITIES: Final = (0.95, 0.8, 0.5, 0.2, 0.05)
SURPRISES: Final = tuple(-math.log(probability) for probability in PROBABILITIES)
RELEVANCES: Final = (0.01, 0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExample:
    """The greedy answer of one item in one trial."""

    trial: str  # as tables name it
    item_key: str
    question: str
    golds: tuple[str, ...]
    is_right: bool | None  # None: nobody says
    answer: GeneratedAnswer
    relevance: tuple[float, ...] | None = None  # [n_counted] in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """What a page shows of single tokens."""

    trials: tuple[tuple[str, int, int], ...]  # name, answers on the page, answers in all
    data: Markup  # {"rows": [[trial, key, question, golds, right, finish reason, total, tokens, all]], ...}
    has_relevance: bool
    label: str  # what right and wrong are by

    @property
    def n_shown(self) -> int:
        """The answers on the page."""
        return sum(shown for _, shown, _ in self.trials)

    @property
    def n_all(self) -> int:
        """The answers that there are."""
        return sum(count for _, _, count in self.trials)


def token_view(examples: Iterable[TokenExample], *, label: str, most: int = MOST_ANSWERS) -> TokenView:
    """Return what a page shows of answers that come one at a time; no more are held than it could show.

    Where there are too many, every trial keeps the same number, chosen by the keys of the items alone, so that trials
    over the same items show the same ones.

    Args:
        examples: in the order of their trials.
        label: what right and wrong are by, in words.
        most: answers on the page, over all trials.

    Raises:
        ValueError: an answer has another number of relevances than of counted tokens.
    """
    held: dict[str, list[tuple[int, int, TokenExample]]] = {}
    counts: dict[str, int] = {}
    for number, example in enumerate(examples):
        counts[example.trial] = counts.get(example.trial, 0) + 1
        entry = (-_lot(example.item_key), -number, example)
        best = held.setdefault(example.trial, [])
        if len(best) < most:
            heapq.heappush(best, entry)
        else:
            heapq.heappushpop(best, entry)
    each = max(1, most // max(1, len(held)))
    chosen = {
        trial: sorted(heapq.nlargest(each, best), key=lambda entry: -entry[1]) for trial, best in held.items()
    }
    rows = [
        _row(place, example) for place, entries in enumerate(chosen.values()) for _, _, example in entries
    ]
    return TokenView(
        trials=tuple((trial, len(entries), counts[trial]) for trial, entries in chosen.items()),
        data=json_script({"rows": rows, "levels": {"nll": SURPRISES, "relevance": RELEVANCES}}),
        has_relevance=any(
            example.relevance is not None for entries in chosen.values() for _, _, example in entries
        ),
        label=label,
    )


def token_section(view: TokenView) -> Markup:
    """Return the section of a page; the page has `STYLES` and `SCRIPT` among its own."""
    legends = {"nll": _surprise_legend(), "relevance": _legend(RELEVANCES, "{:g}", "{:g} or more")}
    text = page_environment().get_template("tokens.html.j2").render(view=view, legends=legends)
    return Markup(text)  # noqa: S704 - a template of ours, every value in it escaped


def _surprise_legend() -> list[str]:
    first, *_, last = (f"{100 * probability:g} %" for probability in PROBABILITIES)
    between = [f"{100 * high:g} to {100 * low:g} %" for high, low in pairwise(PROBABILITIES)]
    return [f"above {first}", *between, f"below {last}"]


def _legend(limits: Sequence[float], one: str, last: str) -> list[str]:
    between = [f"{one.format(low)} to {one.format(high)}" for low, high in pairwise(limits)]
    return [f"below {one.format(limits[0])}", *between, last.format(limits[-1])]


def _row(trial: int, example: TokenExample) -> list[Any]:
    tokens = example.answer.tokens
    try:
        counted = counted_places(example.answer)
    except UndefinedMetricError:
        counted = ()
    relevance: dict[int, float] = {}
    if example.relevance is not None:
        relevance = dict(zip(counted, example.relevance, strict=True))
    # One that is missing leaves the sum without a value: the rest is no likelihood of the answer.
    logprobs = [tokens[place].logprob for place in counted]
    known = [logprob for logprob in logprobs if logprob is not None]
    total = round(-math.fsum(known), 3) if logprobs and len(known) == len(logprobs) else None
    texts, counting = _texts(tokens[:MOST_TOKENS]), frozenset(counted)
    shown = [
        _token(token, text, place in counting, relevance.get(place))
        for place, (token, text) in enumerate(zip(tokens, texts, strict=False))
    ]
    right = None if example.is_right is None else int(example.is_right)
    golds = [_short(gold) for gold in example.golds]
    facts = [trial, visible(example.item_key), _short(example.question), golds, right]
    return [*facts, example.answer.finish_reason.value, total, shown, len(tokens)]


def _token(token: AnswerToken, text: str, counts: bool, relevance: float | None) -> list[Any]:
    is_part = bool(token.piece) and not text
    flags = UNCOUNTED * (not counts) | ENDS * token.ends | PART * is_part
    nll = None if token.logprob is None else round(-token.logprob, 4)
    row: list[Any] = [visible(text), nll, None if relevance is None else round(relevance, 4), flags]
    try:
        token.piece.decode("utf-8")
    except UnicodeDecodeError:
        row.append(token.piece.hex(" "))
    return row


def _texts(tokens: Sequence[AnswerToken]) -> list[str]:
    """Return the characters that each token ends; all of them together are the text, each character once."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = [decoder.decode(token.piece) for token in tokens]
    last = max((place for place, token in enumerate(tokens) if token.piece), default=None)
    if last is not None:
        texts[last] += decoder.decode(b"", final=True)  # a character that was never ended
    return texts


def _short(text: str) -> str:
    return visible(text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}\u2026")


def _lot(item_key: str) -> int:
    return int.from_bytes(hashlib.sha256(item_key.encode("utf-8", "surrogatepass")).digest())
