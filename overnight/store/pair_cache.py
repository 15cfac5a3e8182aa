"""What a text-pair model said once is not asked again, in any trial or run.

What is said of a pair is filed under the digest of both whole texts, among the pairs of one model under one way of
reading its output: the same answer to another question is another pair. A cache that cannot be read or written to
costs time and never a run.
"""

import functools
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from overnight.ids import digest
from overnight.store.content_store import cache_folder
from overnight.store.segments import KEY_DIGITS, SegmentWriter, encode, find, read

KIND = "text_pairs"
_LOG = logging.getLogger("overnight.pair_cache")


def pair_key(one: str, other: str) -> str:
    """Return the name under which a pair is filed, 32 hex digits; where the two texts part is in it."""
    return digest([one, other])[:KEY_DIGITS]


class PairCache:
    """What one model said of pairs."""

    def __init__(self, revision: str, model: Mapping[str, Any], root: Path | None = None) -> None:
        """Open the cache; nothing is read or written yet.

        Args:
            revision: digest of the model and of how its output is read.
            model: the same in words, for people.
            root: the cache folder; the user's by default.
        """
        self.folder = (root or cache_folder()) / KIND / revision
        self._writer: SegmentWriter | None = SegmentWriter(self.folder, dict(model))

    def find(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return what is known of some keys; what is not known, or damaged, is left out."""
        try:
            found = find(self.folder, keys)
        except OSError as error:
            _say_once(
                f"{self.folder}: cannot be read ({error.strerror}); pairs are computed that it may hold"
            )
            return {}
        payloads = zip(found.places, read(found.places.values()), strict=True)
        return {key: payload for key, payload in payloads if payload is not None}

    def keep(self, said: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep what was said, by its keys."""
        if self._writer is None or not said:
            return
        try:
            self._writer.append(encode(key, dict(payload)) for key, payload in said.items())
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
        _say_once(f"{self.folder}: cannot be written to ({error.strerror}); pairs are not kept for others")


@functools.lru_cache(maxsize=256)
def _say_once(message: str) -> None:
    _LOG.warning(message)
