"""Reading files of questions: lines one at a time, or one JSON document."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overnight.datasets.rows import Place, where
from overnight.errors import UsageError


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file with their numbers from 1; a byte order mark is no part of the data.

    Raises:
        UsageError: the file cannot be read, or a line is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                bare = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                yield number, _decoded(bare, f"{path}:{number}")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that is read line by line as it stands.

    Raises:
        UsageError: as ``lines``, or lines end in a carriage return alone, and would be one line.
    """
    for number, line in lines(path):
        if "\r" in line.rstrip("\r\n"):
            raise UsageError(
                f"{path}:{number}: lines end in a carriage return alone; save the file with line feeds"
            )
        yield number, line


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSONL file with the numbers of their lines; blank lines are passed over.

    Raises:
        UsageError: as ``lines``, or a line is not a JSON object.
    """
    for number, line in lines(path):
        if line.strip():
            yield number, _json_row(line, f"{path}:{number}")


def json_records(path: Path) -> Iterator[tuple[Place, Any]]:
    """Yield the objects of a JSON list (place ``[i]``), or of a JSONL file (place: the line), whichever it is.

    Raises:
        UsageError: the file is neither.
    """
    first = next((line.lstrip()[0] for _, line in lines(path) if line.strip()), "")
    if first != "[":
        yield from json_lines(path)
        return
    for index, row in enumerate(json_document(path)):
        yield f"[{index}]", row


def json_document(path: Path) -> Any:
    """Return the value of a file that is one JSON document; it is held in memory whole.

    Raises:
        UsageError: the file cannot be read, or is not JSON (a truncated one says where it ends).
    """
    text = "".join(line for _, line in lines(path))
    if not text.strip():
        raise UsageError(f"{path}: the file is empty; a JSON document was wanted")
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except _TwiceError as error:
        raise UsageError(f"{path}: key {error.key!r} stands twice in one object; take one out") from None
    except json.JSONDecodeError as error:
        is_cut = not text[error.pos :].strip() or error.msg.startswith("Unterminated string")
        hint = "the file ends too early; fetch it again" if is_cut else "correct it, or fetch it again"
        raise UsageError(f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg}); {hint}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON that can be read ({error})") from None


def list_at(value: Any, path: Path | str, place: str) -> list[Any]:
    """Return a list inside a document.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(value, list):
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        raise UsageError(f"{where(str(path), place)}: found {kind}, wanted a list")
    return value


class _TwiceError(Exception):
    """A key stands twice in one object: Python would keep the last one without a word."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(next(key for key in keys if keys.count(key) > 1))
    return row


def _decoded(line: bytes, at: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{at}: byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8"
        ) from None


def _json_row(line: str, at: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_distinct)
    except _TwiceError as error:
        raise UsageError(f"{at}: key {error.key!r} stands twice; take one out") from None
    except json.JSONDecodeError as error:
        raise UsageError(f"{at}: not JSON ({error.msg}); one object a line") from None
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, lists thousands deep: no data set has them.
        raise UsageError(f"{at}: not JSON that can be read ({error}); one object a line") from None
    if not isinstance(row, dict):
        raise UsageError(f"{at}: found {line[:40]!r}, wanted a JSON object")
    return row
