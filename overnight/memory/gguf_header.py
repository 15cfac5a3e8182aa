"""The header of a GGUF file, read without its tensors.

The ``gguf`` package reads the same, one element of every list at a time, which takes seconds for a vocabulary; here
lists of the tokenizer are counted and passed over. The layout is that of docs/gguf.md in the ggml repository.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from overnight.errors import UsageError

_SCALARS = {
    0: "B",  # uint8
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING = 8
_ARRAY = 9
_READ_VERSIONS = (2, 3)
_LONGEST_LIST = 4096  # a list per layer is shorter, a vocabulary is longer
_LONGEST_STRING = 1 << 26
_MOST_DIMENSIONS = 8


@dataclass(frozen=True, slots=True)
class Counted:
    """A list that is too long to be of interest: how many elements it has."""

    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTensor:
    """A tensor's entry in the header."""

    name: str
    shape: tuple[int, ...]  # the first is the one that runs fastest
    type_number: int

    @property
    def n_elements(self) -> int:
        """Elements in all."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """Metadata and tensor entries of one file."""

    metadata: dict[str, Any]
    tensors: tuple[GgufTensor, ...]


def read_header(path: Path) -> GgufHeader:
    """Return the header of a GGUF file.

    Raises:
        UsageError: the file cannot be read, is no GGUF file, is of another version, or ends within its header.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file, path).header()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give the path of a GGUF file") from None
    except (struct.error, UnicodeDecodeError, OverflowError):
        raise UsageError(f"{path}: ends or is damaged within its header; download it again") from None


class _Reader:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._order = "<"
        self._n_bytes = path.stat().st_size

    def header(self) -> GgufHeader:
        magic = self._file.read(4)
        if magic != b"GGUF":
            raise UsageError(f"{self._path} begins with {magic!r}, wanted a GGUF file")
        version = self._number("I")
        if version not in _READ_VERSIONS and version >> 16:  # the bytes stand the other way round
            self._order = ">"
            version = struct.unpack(">I", struct.pack("<I", version))[0]
        if version not in _READ_VERSIONS:
            raise UsageError(f"{self._path}: GGUF version {version}, wanted 2 or 3; convert the model anew")
        n_tensors, n_keys = self._number("Q"), self._number("Q")
        metadata = {}
        for _ in range(n_keys):
            name = self._string()
            metadata[name] = self._value(self._number("I"))
        tensors = tuple(self._tensor() for _ in range(n_tensors))
        return GgufHeader(metadata=metadata, tensors=tensors)

    def _tensor(self) -> GgufTensor:
        name = self._string()
        n_dimensions = self._number("I")
        if n_dimensions > _MOST_DIMENSIONS:
            raise struct.error
        shape = tuple(self._number("Q") for _ in range(n_dimensions))
        type_number = self._number("I")
        self._number("Q")  # where its data lie
        return GgufTensor(name=name, shape=shape, type_number=type_number)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._list(self._number("I"), self._number("Q"))
        return self._number(self._scalar(kind))

    def _list(self, kind: int, n: int) -> Any:
        if n <= _LONGEST_LIST:
            return [self._value(kind) for _ in range(n)]
        if kind == _STRING:
            for _ in range(n):
                self._skip(self._number("Q"))
        elif kind == _ARRAY:
            for _ in range(n):
                self._value(kind)
        else:
            self._skip(n * struct.calcsize("=" + self._scalar(kind)))
        return Counted(n)

    def _scalar(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise struct.error
        return _SCALARS[kind]

    def _number(self, code: str) -> Any:
        size = struct.calcsize("=" + code)
        return struct.unpack(self._order + code, self._file.read(size))[0]

    def _string(self) -> str:
        n = self._number("Q")
        if n > _LONGEST_STRING:
            raise struct.error
        return self._file.read(n).decode("utf-8")

    def _skip(self, n: int) -> None:
        if self._file.seek(n, 1) > self._n_bytes:
            raise struct.error
