"""Answers with their tokens from a ``validation_generations.pkl``, the file of semantic-uncertainty scripts.

It is ``{id: {question, context, most_likely_answer, reference, responses}}``, where an answer is ``{response, tokens,
token_log_likelihoods, accuracy, ...}`` or, for the draws of older files, ``(response, token_log_likelihoods, embedding,
accuracy)``.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.engines.alternatives import END_TOKEN
from overnight.errors import UsageError
from overnight.importing.decoded_tokens import pieces_of
from overnight.importing.plain_pickle import read_plain
from overnight.importing.rebuilt import NotPlainError, NumberArray, Skipped
from overnight.records import FinishReason
from overnight.uncertainty.answer import AnswerToken, GeneratedAnswer
from overnight.uncertainty.table import Cell

_RIGHT_ABOVE = 0.5  # of the stored accuracy, which may be a share of raters
_DRAW_FIELDS = ("response", "token_log_likelihoods", "embedding", "accuracy")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """One answer of the file."""

    text: str
    generated: GeneratedAnswer | None  # None: its tokens are not known
    unknown_because: str | None
    is_ended: bool  # by a token; otherwise by a stop string or by its length, which the file does not say
    accuracy: Cell  # as it was stored: in [0, 1]
    has_embedding: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredItem:
    """One question of the file with all its answers."""

    item_id: str
    question: str
    golds: tuple[str, ...]
    greedy: StoredAnswer
    draws: tuple[StoredAnswer, ...]  # at random, beside the greedy one

    @property
    def is_right(self) -> Cell:
        """1 where the stored accuracy is above .5, else 0."""
        value = self.greedy.accuracy.value
        return self.greedy.accuracy if value is None else Cell(value=float(value > _RIGHT_ABOVE))


def read_generations(path: Path) -> list[StoredItem]:
    """Return the items of a file in its order.

    Raises:
        UsageError: it is refused (see `read_plain`), or is no such file; the item and the key are named.
    """
    value = read_plain(path)
    if not isinstance(value, dict) or not value:
        found = "an empty dict" if value == {} else _kind(value)
        raise UsageError(
            f"{path}: found {found}, wanted the items of a validation_generations.pkl by their ids"
        )
    return list(_items(value, path))


def _items(value: Mapping[Any, Any], path: Path) -> Iterator[StoredItem]:
    seen: set[str] = set()
    for key, entry in value.items():
        item_id = key if isinstance(key, str) else ascii(key)
        at = f"{path}: {ascii(item_id)[:60]}"
        if item_id in seen:
            raise UsageError(f"{at}: stands twice; give every item an id of its own")
        seen.add(item_id)
        row = _mapping(entry, at)
        yield StoredItem(
            item_id=item_id,
            question=_text(row, "question", at),
            golds=_golds(row, at),
            greedy=_answer(_mapping(row.get("most_likely_answer"), f"{at}: most_likely_answer"), at),
            draws=tuple(
                _answer(_draw(draw, f"{at}: responses[{n}]"), f"{at}: responses[{n}]")
                for n, draw in enumerate(_sequence(row.get("responses") or (), f"{at}: responses"))
            ),
        )


def _answer(row: Mapping[str, Any], at: str) -> StoredAnswer:
    text = _text(row, "response", at, may_be_empty=True).strip()
    logprobs = _numbers(row.get("token_log_likelihoods"), f"{at}: token_log_likelihoods")
    tokens = row.get("tokens")
    names = None if tokens is None else _sequence(tokens, f"{at}: tokens")
    unknown = None
    generated = None
    is_ended = False
    if names is None:
        unknown = (
            f"the file has {len(logprobs)} log-likelihoods and no tokens: which of them count is not known"
        )
    elif len(names) != len(logprobs):
        unknown = f"the file has {len(names)} tokens and {len(logprobs)} log-likelihoods"
    elif not all(isinstance(name, str) for name in names):
        raise UsageError(f"{at}: tokens: found something that is no text; save the decoded tokens")
    else:
        is_ended = bool(names) and END_TOKEN.fullmatch(names[-1]) is not None
        generated = _generated(text, list(names), logprobs)
    return StoredAnswer(
        text=text,
        generated=generated,
        unknown_because=unknown,
        is_ended=is_ended,
        accuracy=_accuracy(row.get("accuracy")),
        has_embedding=row.get("embedding") is not None,
    )


def _generated(text: str, names: list[str], logprobs: list[float | None]) -> GeneratedAnswer:
    ends = [END_TOKEN.fullmatch(name) is not None for name in names]
    pieces = iter(pieces_of([name for name, end in zip(names, ends, strict=True) if not end], text))
    return GeneratedAnswer(
        text=text,
        tokens=tuple(
            AnswerToken(piece=b"" if end else next(pieces), logprob=logprob, ends=end)
            for end, logprob in zip(ends, logprobs, strict=True)
        ),
        finish_reason=FinishReason.STOP,  # nobody knows; what is written of it is `StoredAnswer.is_ended`
    )


def _accuracy(value: Any) -> Cell:
    if value is None:
        return Cell(value=None, undefined_because="the file has no accuracy of this answer")
    if isinstance(value, Skipped):
        return Cell(value=None, undefined_because="the accuracy is a tensor, which is not read")
    if isinstance(value, NumberArray):
        numbers = value.numbers() if not value.shape else []
        value = numbers[0] if len(numbers) == 1 else None
    known = _finite(value) if isinstance(value, int | float) else None
    return Cell(value=known, undefined_because="the accuracy is no finite number" if known is None else None)


def _numbers(value: Any, at: str) -> list[float | None]:
    """Return log-likelihoods; None where one is not finite."""
    if isinstance(value, NumberArray):
        try:
            values: Any = value.numbers()
        except NotPlainError as error:
            raise UsageError(f"{at}: {error}; save a list of numbers (.tolist())") from None
    else:
        values = _sequence(value, at)
    for number, one in enumerate(values):
        if isinstance(one, Skipped):
            raise UsageError(f"{at}[{number}]: a tensor, whose value is not read; save a number (.item())")
        if not isinstance(one, int | float) or isinstance(one, bool):
            raise UsageError(f"{at}[{number}]: found {_kind(one)}, wanted a number")
    return [_finite(one) for one in values]


def _finite(value: float) -> float | None:
    """Return a number; None where it is not finite, or an integer that no float can hold."""
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _draw(value: Any, at: str) -> Mapping[str, Any]:
    if isinstance(value, tuple | list):
        return dict(zip(_DRAW_FIELDS, value, strict=False))
    return _mapping(value, at)


def _golds(row: Mapping[str, Any], at: str) -> tuple[str, ...]:
    reference = row.get("reference")
    answers = reference.get("answers") if isinstance(reference, dict) else None
    texts = answers.get("text") if isinstance(answers, dict) else None
    if texts is None:
        return ()
    return tuple(text for text in _sequence(texts, f"{at}: reference.answers.text") if isinstance(text, str))


def _mapping(value: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{at}: found {_kind(value)}, wanted a dict; is this a validation_generations.pkl?")
    return value


def _sequence(value: Any, at: str) -> list[Any] | tuple[Any, ...]:
    if isinstance(value, Skipped):
        raise UsageError(f"{at}: a tensor, whose values are not read; save a list (.tolist())")
    if not isinstance(value, list | tuple):
        raise UsageError(f"{at}: found {_kind(value)}, wanted a list")
    return value


def _text(row: Mapping[str, Any], key: str, at: str, *, may_be_empty: bool = False) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not (may_be_empty or value.strip()):
        raise UsageError(f"{at}: {key}: found {_kind(value)}, wanted a text")
    return value


def _kind(value: Any) -> str:
    return "nothing" if value is None or value == "" else type(value).__name__
