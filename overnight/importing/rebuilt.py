"""What a pickle may ask to be called, each answered by a stand-in of ours: none of numpy or torch is imported or run.

A number of numpy is read from its bytes. A tensor of torch is passed over: its values are not needed, and torch alone
knows its format.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

# numpy's letter and bytes of a number -> the letter that `struct` has for it.
_FORMATS: Final = {
    "f8": "d",
    "f4": "f",
    "f2": "e",
    "i8": "q",
    "i4": "i",
    "i2": "h",
    "i1": "b",
    "u8": "Q",
    "u4": "I",
    "u2": "H",
    "u1": "B",
    "b1": "?",
}
_ORDERS: Final = {
    "<": "<",
    ">": ">",
    "=": "<",
    "|": "<",
}  # native is little-endian wherever these files are made
_RECONSTRUCTED_STATE, _TYPE_STATE_ORDER = 5, 1


class NotPlainError(Exception):
    """A pickle asks for something that is not data; the message says what."""


class Skipped:
    """A tensor, or a part of one, that was passed over."""

    __slots__ = ()


@dataclass(slots=True)
class NumberType:
    """A numpy dtype of plain numbers."""

    code: str
    order: str = "<"

    def take_state(self, state: Any) -> None:
        """Take the byte order that numpy saves apart."""
        if not isinstance(state, tuple) or len(state) <= _TYPE_STATE_ORDER:
            raise NotPlainError("a numpy type without its byte order")
        self.order = _known(_ORDERS, state[_TYPE_STATE_ORDER], "numpy byte order")

    def numbers(self, raw: bytes, count: int) -> list[float]:
        """Return the numbers that some bytes hold.

        Raises:
            NotPlainError: there are more or fewer bytes than ``count`` numbers have.
        """
        letter = _known(_FORMATS, self.code, "numpy type")
        if len(raw) != count * struct.calcsize(f"{self.order}{letter}"):
            raise NotPlainError(f"{len(raw)} bytes for {count} numbers of the numpy type {self.code}")
        return list(struct.unpack(f"{self.order}{count}{letter}", raw))


@dataclass(slots=True)
class NumberArray:
    """A numpy array; its numbers are read when somebody asks for them."""

    shape: tuple[int, ...] = ()
    type: NumberType | None = None
    raw: bytes = b""

    def take_state(self, state: Any) -> None:
        """Take shape, type and bytes, which numpy saves apart."""
        if not isinstance(state, tuple) or len(state) != _RECONSTRUCTED_STATE:
            raise NotPlainError("a numpy array without its content")
        _, shape, kind, _, raw = state
        self.fill(shape, kind, raw)

    def fill(self, shape: Any, kind: Any, raw: Any) -> None:
        """Take shape, type and bytes."""
        is_shape = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not is_shape or not isinstance(kind, NumberType) or not isinstance(raw, bytes | bytearray):
            raise NotPlainError("a numpy array of objects")
        self.shape, self.type, self.raw = shape, kind, bytes(raw)

    def numbers(self) -> list[float]:
        """Return all numbers in the order of their bytes, whatever the shape.

        Raises:
            NotPlainError: the type is none of plain numbers, or the bytes are not as many as the shape says.
        """
        if self.type is None:
            raise NotPlainError("a numpy array without its content")
        return self.type.numbers(self.raw, math.prod(self.shape))


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A name that a pickle may ask for, and what is done where it is called."""

    name: str
    call: Callable[[Sequence[Any]], Any] | None = None  # None: it may only be handed on


def _mapping(arguments: Sequence[Any]) -> dict[Any, Any]:
    if arguments:
        raise NotPlainError("a mapping that is made from something else than its items")
    return {}


def _latin_1(arguments: Sequence[Any]) -> bytes:
    text, encoding = arguments
    if encoding != "latin1" or not isinstance(text, str):
        raise NotPlainError(f"bytes in the encoding {_shown(encoding)}")
    return text.encode("latin1")


def _type(arguments: Sequence[Any]) -> NumberType:
    if not arguments or not isinstance(arguments[0], str):
        raise NotPlainError("a numpy type without a name")
    return NumberType(arguments[0])


def _scalar(arguments: Sequence[Any]) -> float:
    kind, raw = arguments
    if not isinstance(kind, NumberType) or not isinstance(raw, bytes):
        raise NotPlainError("a numpy scalar that is no number")
    return kind.numbers(raw, 1)[0]


def _empty_array(_arguments: Sequence[Any]) -> NumberArray:
    return NumberArray()


def _array(arguments: Sequence[Any]) -> NumberArray:
    raw, kind, shape, _order = arguments
    found = NumberArray()
    found.fill(shape, kind, raw)
    return found


def _skip(_arguments: Sequence[Any]) -> Skipped:
    return Skipped()


def _rebuilds() -> dict[tuple[str, str], Rebuild]:
    calls: dict[tuple[str, str], Callable[[Sequence[Any]], Any] | None] = {
        ("collections", "OrderedDict"): _mapping,
        ("_codecs", "encode"): _latin_1,
        ("numpy", "dtype"): _type,
        ("numpy", "ndarray"): None,
    }
    for numpy_core in ("numpy.core", "numpy._core"):
        calls[f"{numpy_core}.multiarray", "scalar"] = _scalar
        calls[f"{numpy_core}.multiarray", "_reconstruct"] = _empty_array
        calls[f"{numpy_core}.numeric", "_frombuffer"] = _array
    for module, name in (
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch.storage", "_load_from_bytes"),
    ):
        calls[module, name] = _skip
    return {key: Rebuild(".".join(key), call) for key, call in calls.items()}


REBUILDS: Final[Mapping[tuple[str, str], Rebuild]] = MappingProxyType(_rebuilds())


def _known(table: Mapping[str, str], key: Any, what: str) -> str:
    if not isinstance(key, str) or key not in table:
        raise NotPlainError(f"the {what} {_shown(key)}")
    return table[key]


def _shown(value: Any, limit: int = 40) -> str:
    return ascii(value)[:limit] if isinstance(value, str) else f"a {type(value).__name__}"
