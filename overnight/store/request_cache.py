"""Answers that were given once are not asked for again, in any trial or run.

What an answer is kept under, and what may stand for what, is decided in docs/decisions/0006. A cache that cannot be
read or written to costs time and never a run.
"""

import functools
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from overnight.ids import digest, split_custom_id
from overnight.records import FinishReason
from overnight.store.content_store import cache_folder
from overnight.store.journal import Row, is_done
from overnight.store.segments import (
    KEY_DIGITS,
    Found,
    Place,
    SegmentWriter,
    encode,
    find,
    read,
    segments,
    sizes,
)

KIND = "requests"
_LOG = logging.getLogger("overnight.request_cache")
# What a row says of this draw rather than of its answer.
_OF_THE_DRAW = frozenset({"custom_id", "part", "request_id", "status", "prompts", "error"})
_OF_THE_SENDING = ("custom_id", "at", "latency_s", "attempt")
_ANSWERED = {FinishReason.STOP.value, FinishReason.LENGTH.value}


def request_key(request_id: str, draw: int, settings_digest: str) -> str:
    """Return the name of an answer, as 32 hex digits.

    Args:
        request_id: of the weights, the messages, the sampling parameters and the seed (``Request.digest``).
        draw: index among the draws of one item and arm.
        settings_digest: of what the engine answers with.
    """
    label = f"{request_id}|{draw}|{settings_digest}".encode("ascii")
    return hashlib.sha256(label).hexdigest()[:KEY_DIGITS]


class RequestCache:
    """The answers of one model under one set of engine settings."""

    def __init__(
        self,
        model_digest: str,
        settings: Mapping[str, Any],
        *,
        run_id: str,
        not_of_the_answer: Iterable[str] = (),
        root: Path | None = None,
    ) -> None:
        """Open the cache; nothing is read or written yet.

        Args:
            model_digest: of the weights.
            settings: what else of the engine can change an answer.
            run_id: who keeps answers here, for whoever reuses them.
            not_of_the_answer: fields of a row that a trial puts there and that are not kept.
            root: the cache folder; the user's by default.
        """
        self.folder = (root or cache_folder()) / KIND / model_digest
        self._settings_digest = digest(settings)
        self._run_id = run_id
        self._left_out = _OF_THE_DRAW.union(_OF_THE_SENDING, not_of_the_answer)
        self._writer: SegmentWriter | None = SegmentWriter(
            self.folder, {"model_digest": model_digest, "settings": dict(settings)}
        )

    def key(self, request_id: str, draw: int) -> str:
        """Return the name of an answer with these settings."""
        return request_key(request_id, draw, self._settings_digest)

    def is_empty(self) -> bool:
        """True where nobody has kept an answer of this model; one that cannot be read is not empty."""
        try:
            return not segments(self.folder)
        except OSError:
            return False

    def sizes(self) -> dict[Path, int]:
        """Return how much there is, to be given to ``find`` when the same keys are looked for again."""
        try:
            return sizes(self.folder)
        except OSError:
            return {}

    def find(self, keys: Iterable[str], since: Mapping[Path, int] | None = None) -> dict[str, Place]:
        """Return where the answers of some keys are; those that are not known are left out."""
        try:
            found = find(self.folder, keys, since)
        except OSError as error:
            found = Found(places={}, unreadable=error)
        if found.unreadable is not None:
            reason = found.unreadable.strerror
            _say_once(f"{self.folder}: cannot be read ({reason}); requests are sent that it may hold")
        if found.n_damaged:
            _say_once(
                f"{self.folder}: damaged lines, passed over, their requests are sent; "
                "`overnight cache verify` names them"
            )
        return found.places

    def read(self, places: Iterable[Place]) -> Iterator[Row | None]:
        """Yield the answers at some places; None where one is gone or is of no form that is known."""
        for payload in read(places):
            if payload is None or payload.get("finish_reason") not in _ANSWERED:
                yield None
            else:
                yield payload if isinstance(payload.get("text"), str) else None

    def keep(self, rows: Iterable[Row]) -> None:
        """Keep the answers among some journal rows; failures, and answers that come from here, are not kept."""
        if self._writer is None:
            return
        lines = [self._line(row) for row in rows if is_done(row) and not row.get("cached")]
        if not lines:
            return
        try:
            self._writer.append(lines)
        except OSError as error:
            self.close()
            self._give_up(error)

    def close(self) -> None:
        """Give files back."""
        if self._writer is None:
            return
        try:
            self._writer.close()
        except OSError as error:  # a network file system may find out only now that there is no room
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._writer = None
        _say_once(
            f"{self.folder}: cannot be written to ({error.strerror}); new answers are not kept for others"
        )

    def _line(self, row: Row) -> bytes:
        answer = {name: value for name, value in row.items() if name not in self._left_out}
        answer["origin"] = origin(row, self._run_id)
        return encode(self.key(row["request_id"], split_custom_id(row["custom_id"])[4]), answer)


def origin(row: Row, run_id: str) -> dict[str, object]:
    """Return where and when an answer was said first, for the row of whoever takes it."""
    return {"run_id": run_id, "trial": row.get("trial")} | {name: row.get(name) for name in _OF_THE_SENDING}


@functools.lru_cache(maxsize=256)
def _say_once(message: str) -> None:
    _LOG.warning(message)
