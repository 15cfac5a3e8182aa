"""Tokens out of files that somebody has: a table of predictions, or a usage file."""

import csv
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from overnight.errors import UsageError
from overnight.runs.costing import Sums, add_usage

_NEEDED = ("custom_id", "prompt_tokens", "completion_tokens")
_CONDITION_FIELD = 2  # of a custom id
_CUSTOM_ID_FIELDS = 6
_NAMES = {
    "prompt_tokens": ("prompt_tokens", "input_tokens"),
    "completion_tokens": ("completion_tokens", "output_tokens"),
}


@dataclass(kw_only=True)
class Usage:
    """Tokens by arm, and where they come from."""

    source: str  # usage_json, predictions.csv, or "predictions.csv, partly estimated"
    sums: Sums = field(default_factory=dict)
    n_estimated: int = 0  # answers without counts whose tokens were estimated
    n_without: int = 0  # answers without counts that are in no sum


def usage_of_json(path: Path) -> Usage:
    """Return the tokens of a usage file: an object with token counts, or one with them under ``usage``.

    ``input_tokens`` and ``output_tokens`` are read as well. Counts by arm may stand under ``by_condition``.

    Raises:
        UsageError: the file is missing, not JSON, or its counts are not whole numbers from 0 up.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; name a JSON file with token counts") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error})") from None
    if isinstance(value, dict) and isinstance(value.get("usage"), dict):
        value = value["usage"]
    if not isinstance(value, dict):
        raise UsageError(f"{path}: found a {type(value).__name__}, wanted an object with prompt_tokens")
    arms = value.get("by_condition") or {"all": value}
    if not isinstance(arms, dict):
        raise UsageError(f"{path}: by_condition: found a {type(arms).__name__}, wanted an object")
    usage = Usage(source="usage_json")
    for name, counts in arms.items():
        tokens = [_json_count(counts, key, path) for key in _NAMES]
        usage.sums[name] = Counter()
        add_usage(usage.sums[name], *tokens)
    return usage


def usage_of_predictions(path: Path, *, estimate: bool = False) -> Usage:
    """Return the tokens of a ``predictions.csv``, read row by row.

    Args:
        path: the table; BOM and CRLF are fine, columns may stand in any order.
        estimate: take the mean of its arm for an answer without counts; an arm without any counts has no mean,
            and its answers stay uncounted.

    Raises:
        UsageError: the file is missing or empty, lacks a column, holds a count that is no whole number from 0 up,
            a torn row, or one custom id twice; the line is named.
    """
    usage = Usage(source="predictions.csv")
    uncounted: Counter[str] = Counter()
    seen = array("Q")
    for line, row in _rows(path):
        condition = row.get("condition") or _condition(row["custom_id"], path, line)
        arm = usage.sums.setdefault(condition, Counter())
        arm["n_draws"] += 1
        seen.append(_key(row["custom_id"]))
        prompt = _count(row["prompt_tokens"], "prompt_tokens", path, line)
        completion = _count(row["completion_tokens"], "completion_tokens", path, line)
        if prompt is not None and completion is not None:
            add_usage(arm, prompt, completion)
        elif row.get("finish_reason") != "error":
            uncounted[condition] += 1
    if not seen:
        raise UsageError(f"{path}: no rows below the header; nothing to count")
    if (repeated := _repeated(seen)) and (twice := _first_twice(path, repeated)):
        raise UsageError(twice)
    usage.n_without = uncounted.total()
    if estimate:
        _estimate(usage, uncounted)
    return usage


def _estimate(usage: Usage, uncounted: Mapping[str, int]) -> None:
    for condition, n_draws in uncounted.items():
        arm = usage.sums[condition]
        n_counted = arm["usage_records"]
        if not n_counted:
            continue  # nothing of this arm was counted: there is no mean
        for name in _NAMES:
            arm[name] += round(arm[name] / n_counted * n_draws)
        usage.n_estimated += n_draws
        usage.n_without -= n_draws
    if usage.n_estimated:
        usage.source = "predictions.csv, partly estimated"


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, strict=True)
            columns = table.fieldnames or []
            if missing := [name for name in _NEEDED if name not in columns]:
                found = ", ".join(columns) or "nothing"
                raise UsageError(
                    f"{path}:1: no column {missing[0]!r}; found {found}; wanted the columns of a predictions.csv"
                )
            for row in table:
                if None in row or None in row.values():
                    raise UsageError(
                        f"{path}:{table.line_num}: the row has not the {len(columns)} fields of the header; "
                        "restore the file"
                    )
                yield table.line_num, row
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; name a predictions.csv") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except csv.Error as error:
        raise UsageError(f"{path}:{table.line_num}: not CSV ({error}); restore the file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


def _condition(custom_id: str, path: Path, line: int) -> str:
    fields = custom_id.split("|")
    if len(fields) != _CUSTOM_ID_FIELDS:
        raise UsageError(
            f"{path}:{line}: custom_id {custom_id!r} has {len(fields)} fields, wanted {_CUSTOM_ID_FIELDS} "
            "(or a column condition)"
        )
    return fields[_CONDITION_FIELD]


def _count(text: str, column: str, path: Path, line: int) -> int | None:
    stripped = text.strip()
    if not stripped:
        return None
    if not (stripped.isascii() and stripped.isdigit()):
        raise UsageError(
            f"{path}:{line}: {column}: found {text!r}, wanted a whole number from 0 up, or nothing"
        )
    return int(stripped)


def _json_count(counts: Any, key: str, path: Path) -> int:
    if not isinstance(counts, dict):
        raise UsageError(f"{path}: found a {type(counts).__name__}, wanted an object with {key}")
    value = next((counts[name] for name in _NAMES[key] if name in counts), None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(f"{path}: {key}: found {value!r}, wanted a whole number from 0 up")
    return value


def _key(custom_id: str) -> int:
    """Return eight bytes of a digest: a million ids are 8 MB instead of 150."""
    return int.from_bytes(blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _repeated(keys: "array[int]") -> set[int]:
    import numpy as np  # noqa: PLC0415 - only this sort needs it

    ordered = np.sort(np.frombuffer(keys, dtype=np.uint64))
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _first_twice(path: Path, keys: set[int]) -> str | None:
    """Return what is wrong with the first id that stands twice, or None: two ids may share a digest."""
    lines: dict[str, int] = {}
    for line, row in _rows(path):
        name = row["custom_id"]
        if _key(name) in keys:
            if name in lines:
                return (
                    f"{path}:{line}: custom_id {name!r} stands already in line {lines[name]}; "
                    "a draw counts once: take one out"
                )
            lines[name] = line
    return None
