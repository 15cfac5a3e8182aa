"""The values of an answer, each checked: what a server says is no fact until it can be one."""

import json
import math
from collections.abc import Iterable
from typing import Any

_MOST = 2**53  # a count beyond is none
_ROUNDING = 1e-3  # nats by which rounded arithmetic may have a probability above 1


def read_body(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is none, or is nested deeper than any answer.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def written_body(body: Any) -> bytes:
    """Return a value as JSON in ASCII, in which half of a surrogate pair stays what it is."""
    return json.dumps(body, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def count(value: Any, name: str) -> int:
    """Return a number of tokens.

    Raises:
        TypeError: it is no number.
        ValueError: it is no count.
    """
    number = finite(value, name)
    if number < 0 or number != int(number) or number >= _MOST:
        raise ValueError(f"{name} is {number!r}, which is no count")
    return int(number)


def count_or_none(value: Any, name: str) -> int | None:
    """Return a number of tokens; None where it is not given. Raises as ``count``."""
    return None if value is None else count(value, name)


def seconds_or_none(value: Any, name: str, *, per_second: float) -> float | None:
    """Return a time in seconds; None where it is not given.

    Args:
        value: the time in the engine's own unit.
        name: of the value, for messages.
        per_second: units in a second.

    Raises:
        TypeError: it is no number.
        ValueError: it is no length of time.
    """
    if value is None:
        return None
    number = finite(value, name)
    if number < 0:
        raise ValueError(f"{name} is {number!r}, which is no length of time")
    return round(number / per_second, 5)


def finite(value: Any, name: str) -> float:
    """Return a number.

    Raises:
        TypeError: it is none.
        ValueError: it is not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {type(value).__name__}, not a number")
    if (isinstance(value, int) and abs(value) >= _MOST) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r:.40}, not a finite number")
    return float(value)


def logprob(value: Any) -> float:
    """Return a log-probability in nats.

    Raises:
        TypeError: it is no number.
        ValueError: no probability has it.
    """
    number = finite(value, "a log-probability")
    if number > _ROUNDING:
        raise ValueError(f"a log-probability is {number!r}")
    return number


def logprobs(values: Iterable[Any], n_generated: int | None) -> tuple[float, ...]:
    """Return the log-probabilities of the tokens of an answer.

    Args:
        values: of the tokens that were generated, in their order.
        n_generated: tokens that the engine counted, None where it does not; the one that ends the answer may be left
            out of them.

    Raises:
        TypeError: one is no number.
        ValueError: one is that of no probability, or there are more than tokens.
    """
    read = tuple(logprob(value) for value in values)
    if n_generated is not None and len(read) > n_generated + 1:
        raise ValueError(f"there are {len(read)} log-probabilities of {n_generated} tokens")
    return read
