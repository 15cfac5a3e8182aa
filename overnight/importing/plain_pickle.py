"""A pickle read as data: containers, numbers and texts; whatever else it asks for is refused, and nothing is run.

A pickle is a program. This reader knows the instructions that put plain values together, and no other: it imports
nothing, calls nothing but the stand-ins in `rebuilt`, and never holds more than the file has bytes for.
"""

import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

from overnight.errors import UsageError
from overnight.importing.rebuilt import REBUILDS, NotPlainError, NumberArray, NumberType, Rebuild, Skipped

_MOST_BYTES: Final = 4 << 30
_SHOWN_CHARS: Final = 80
_KEY_TYPES: Final = (str, int, float, bool, bytes, type(None))  # hashing a deep tuple would overrun the stack

_NAMES: Final = {code.code.encode("latin1")[0]: code.name for code in pickletools.opcodes}
_OPCODES: Final = (  # noqa: SIM905 - one word an instruction
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT "
    "BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE "
    "BINUNICODE8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT EMPTY_SET GET BINGET "
    "LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL"
).split()


def read_plain(path: Path) -> Any:
    """Return the value of a pickle; a tensor in it is `Skipped`, a numpy array a `NumberArray`.

    Raises:
        UsageError: it is no pickle, it is cut off, or it asks for something that is not data; nothing was run.
    """
    try:
        n_bytes = path.stat().st_size
        if n_bytes > _MOST_BYTES:
            raise UsageError(
                f"{path}: {n_bytes / 1e9:.1f} GB, at most {_MOST_BYTES / 1e9:.1f} are read; save it in parts, without "
                "embeddings"
            )
        with path.open("rb") as file:
            return _read(_Bounded(file, n_bytes), path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); name a file") from None


def _read(file: "_Bounded", path: Path) -> Any:
    try:
        return _PlainUnpickler(file).load()
    except NotPlainError as refused:
        raise UsageError(
            f"{path}: refused at byte {file.n_read}: it asks for {refused}; nothing was run. Save plain lists, "
            "numbers and texts where it was made (.tolist(), .item(), str()), or leave the value out"
        ) from None
    # What a damaged file can make of well-meant instructions; none of them is ours to let through.
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        reason = ascii(str(error))[1:-1][:_SHOWN_CHARS] or "it ends too early"
        raise UsageError(
            f"{path}: no pickle that can be read ({type(error).__name__} at byte {file.n_read}: {reason}); copy or "
            "save the file again"
        ) from None


class _Bounded:
    """A file that is never asked for more than it has."""

    def __init__(self, file: BinaryIO, n_bytes: int) -> None:
        self._file, self._n_bytes = file, n_bytes
        self.n_read = 0

    def read(self, n: int) -> bytes:
        """Return exactly ``n`` bytes."""
        if n > self._n_bytes - self.n_read:
            raise EOFError(f"{n} bytes are announced, {self._n_bytes - self.n_read} are left")
        found = self._file.read(n)
        self.n_read += len(found)
        return found

    def readline(self) -> bytes:
        found = self._file.readline()
        self.n_read += len(found)
        return found


class _Instructions(dict[int, Any]):
    """What is done for each instruction."""

    def __missing__(self, code: int) -> Any:
        raise NotPlainError(f"the instruction {_NAMES.get(code, code)}")


class _PlainUnpickler(pickle._Unpickler):  # noqa: SLF001
    """The unpickler that is written in Python: its instructions can be taken away one by one.

    The one in C makes room for whatever number a file announces before it looks whether the file has it.
    """

    # Set by the class above, which says so to no type checker.
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    def find_class(self, module: str, name: str) -> Rebuild:
        known = REBUILDS.get((module, name))
        if known is None:
            raise NotPlainError(ascii(f"{module}.{name}")[1:-1][:_SHOWN_CHARS])
        return known

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        called = self.stack[-1]
        if not isinstance(called, Rebuild) or called.call is None or not isinstance(arguments, tuple):
            name = called.name if isinstance(called, Rebuild) else f"a {type(called).__name__}"
            raise NotPlainError(f"a call of {name}")
        self.stack[-1] = called.call(arguments)

    def _build(self) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        if isinstance(built, NumberArray | NumberType):
            built.take_state(state)
        elif not isinstance(built, Skipped):
            raise NotPlainError(f"attributes of a {type(built).__name__}")

    def _bytearray8(self) -> None:
        (n_bytes,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(n_bytes)))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._filled()[_plain(key)] = value

    def _set_items(self) -> None:
        values = self.pop_mark()
        mapping = self._filled()
        for key, value in zip(values[::2], values[1::2], strict=True):
            mapping[_plain(key)] = value

    def _filled(self) -> dict[Any, Any]:
        mapping = self.stack[-1]
        if type(mapping) is not dict:
            raise NotPlainError(f"items of a {type(mapping).__name__}")
        return mapping

    def _dict(self) -> None:
        values = self.pop_mark()
        self.append({_plain(key): value for key, value in zip(values[::2], values[1::2], strict=True)})

    def _add_items(self) -> None:
        values = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise NotPlainError(f"members of a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(map(_plain, values))

    def _frozenset(self) -> None:
        values = self.pop_mark()  # before `append`, which is then that of the list below the mark
        self.append(frozenset(map(_plain, values)))

    dispatch = _Instructions(
        {getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in _OPCODES}  # noqa: SLF001
        | {
            pickle.REDUCE[0]: _reduce,
            pickle.BUILD[0]: _build,
            pickle.BYTEARRAY8[0]: _bytearray8,
            pickle.SETITEM[0]: _set_item,
            pickle.SETITEMS[0]: _set_items,
            pickle.DICT[0]: _dict,
            pickle.ADDITEMS[0]: _add_items,
            pickle.FROZENSET[0]: _frozenset,
        }
    )


def _plain(key: Any) -> Any:
    if not isinstance(key, _KEY_TYPES):
        raise NotPlainError(f"a {type(key).__name__} as a key")
    return key
