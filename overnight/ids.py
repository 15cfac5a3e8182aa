"""Names and digests: how a value becomes the same name on every machine and on every day."""

import hashlib
import json
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from overnight.errors import StoreError

_CHUNK_BYTES = 1 << 20
_CUSTOM_ID_FIELDS = 6
RUN_PREFIX = "run_"
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, ASCII only, never NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def text_digest(text: str) -> str:
    """Return the sha256 of a text; a lone surrogate counts as the three bytes it would be."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes, read in pieces."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            sha.update(piece)
    return sha.hexdigest()


def number_label(number: float) -> str:
    """Return the shortest text that reads back as the same number, without a trailing ``.0``.

    1.0 and 10.0 and .995 stay apart (``1``, ``10``, ``0.995``), which two decimals would not keep.
    """
    return str(int(number)) if float(number).is_integer() else repr(float(number))


def temperature_label(temperature: float) -> str:
    """Return a temperature as it stands in custom ids and tables: ``0.0``, ``0.7``, ``0.25``."""
    return repr(float(temperature))


def custom_id(item_key: str, condition: str, temperature: float, sample_index: int, item_type: str) -> str:
    """Return ``dataset|item_id|condition|temp|sample_index|type``, the name of one draw within a trial."""
    return f"{item_key}|{condition}|{temperature_label(temperature)}|{sample_index}|{item_type}"


def item_key(dataset: str, item_id: str) -> str:
    """Return ``dataset|item_id`` with any ``|`` of its parts percent-encoded."""
    return f"{_escape(dataset)}|{_escape(item_id)}"


def split_custom_id(text: str) -> tuple[str, str, str, float, int, str]:
    """Return dataset, item id, condition, temperature, sample index and type of a custom id.

    Raises:
        StoreError: the text does not have exactly six fields.
    """
    fields = text.split("|")
    if len(fields) != _CUSTOM_ID_FIELDS:
        raise StoreError(f"custom_id {text!r} has {len(fields)} fields, {_CUSTOM_ID_FIELDS} wanted")
    dataset, item_id, condition, temperature, index, item_type = fields
    return _unescape(dataset), _unescape(item_id), condition, float(temperature), int(index), item_type


def _escape(part: str) -> str:
    return quote(part, safe=" !#$&'()*+,-./:;<=>?@[]^_`{}~\"\\", errors="surrogatepass")


def _unescape(part: str) -> str:
    return unquote(part, errors="surrogatepass")


def new_run_id() -> str:
    """Return ``rYYYYMMDDHHMMSS`` in UTC and four random hex digits."""
    return f"r{datetime.now(UTC):%Y%m%d%H%M%S}{secrets.token_hex(2)}"


def is_run_id(text: str) -> bool:
    """True for a name that can be a run's folder: letters, digits, dot, dash, underscore; no separators."""
    return _RUN_ID.fullmatch(text) is not None and is_file_name(text)


def is_file_name(text: str) -> bool:
    """True for a name of plain letters and signs that Windows, too, lets a file have, whatever its ending.

    Source:
        Microsoft, "Naming Files, Paths, and Namespaces": names of devices, and a dot at the end, which is dropped.
    """
    return not text.endswith(".") and text.partition(".")[0].casefold() not in _DEVICES


def trial_slug(
    *, model: str, prompt_set: str, top_p: float, top_k: int, closed: int, opened: int, fingerprint: str
) -> str:
    """Return a trial's folder name: its axes in plain text and eight digits of its fingerprint."""
    axes = f"tp{number_label(top_p)}-tk{number_label(top_k)}-mx{closed}-{opened}"
    return f"{model}-{prompt_set}-{axes}-{fingerprint[:8]}"
