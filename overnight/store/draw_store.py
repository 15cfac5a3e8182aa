"""A scratch store of items and scored draws, on disk: rows come in any order and leave grouped.

Memory stays flat however many there are; SQLite sorts, and keeps no more than its cache in memory.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import groupby
from typing import Any

from overnight.records import AnswerRule, Arm, Condition, FinishReason, Item, ItemType, Prediction, Score
from overnight.store.files import scratch_folder

_CACHE_KIB = 16 * 1024
_CONDITIONS = tuple(Condition)
_SCORE_FIELDS = tuple(field.name for field in fields(Score))
_DRAW_COLUMNS = ("line", "text", "finish_reason", "mean_logprob", *_SCORE_FIELDS)
_SCHEMA = f"""
    CREATE TABLE items (rank INTEGER PRIMARY KEY, key TEXT UNIQUE, place TEXT, item TEXT);
    CREATE TABLE draws (
        item INTEGER, condition INTEGER, temperature REAL, sample_index INTEGER, {", ".join(_DRAW_COLUMNS)},
        PRIMARY KEY (item, condition, temperature, sample_index)
    ) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDraw:
    """What is kept of a row that came in: where it was and the digest of its reply, not the reply."""

    line: int
    text_digest: bytes
    finish_reason: FinishReason | None
    mean_logprob: float | None
    score: Score | None  # None: the request failed


DrawKey = tuple[int, Arm, int]  # rank of the item, arm, sample index


class DrawStore:
    """Items by their keys, draws by item and arm."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._parsed = lru_cache(maxsize=1024)(self._item)

    def add_item(self, item: Item, place: str) -> str | None:
        """Keep an item; return None, or where an item of this key was met before."""
        before = self._database.execute("SELECT place FROM items WHERE key = ?", (item.key,)).fetchone()
        if before is not None:
            return str(before[0])
        values = {field.name: getattr(item, field.name) for field in fields(Item)}
        self._database.execute(
            "INSERT INTO items (key, place, item) VALUES (?, ?, ?)", (item.key, place, json.dumps(values))
        )
        return None

    def find_item(self, key: str) -> tuple[int, Item] | None:
        """Return the rank and the item of a key, or None."""
        row = self._database.execute("SELECT rank FROM items WHERE key = ?", (key,)).fetchone()
        return None if row is None else (row[0], self._parsed(row[0]))

    def find_draw(self, key: DrawKey) -> StoredDraw | None:
        """Return the draw that is kept under a key, or None."""
        row = self._database.execute(
            f"SELECT {', '.join(_DRAW_COLUMNS)} FROM draws "  # noqa: S608 - names of our own
            "WHERE item = ? AND condition = ? AND temperature = ? AND sample_index = ?",
            _key_values(key),
        ).fetchone()
        return None if row is None else _draw(row)

    def put_draw(self, key: DrawKey, draw: StoredDraw) -> None:
        """Keep a draw, in place of the one that was there."""
        score = draw.score
        values = (
            *_key_values(key),
            draw.line,
            draw.text_digest,
            draw.finish_reason.value if draw.finish_reason else None,
            draw.mean_logprob,
            *(None if score is None else getattr(score, name) for name in _SCORE_FIELDS),
        )
        marks = ", ".join("?" * len(values))
        self._database.execute(f"INSERT OR REPLACE INTO draws VALUES ({marks})", values)  # noqa: S608 - marks

    def cells(self) -> Iterator[list[tuple[Prediction, Score]]]:
        """Yield the scored draws of one item and arm after the other, items in the order they were added.

        The predictions are without their texts.
        """
        rows = self._database.execute(
            f"SELECT item, condition, temperature, sample_index, {', '.join(_DRAW_COLUMNS)} "  # noqa: S608
            "FROM draws ORDER BY item, condition, temperature, sample_index"
        )
        for (rank, condition, temperature), group in groupby(rows, key=lambda row: row[:3]):
            item = self._parsed(rank)
            arm = Arm(condition=_CONDITIONS[condition], temperature=temperature)
            scored = [
                (
                    Prediction(
                        custom_id="",
                        item=item,
                        arm=arm,
                        sample_index=row[3],
                        text="",
                        finish_reason=draw.finish_reason,
                        mean_logprob=draw.mean_logprob,
                    ),
                    draw.score,
                )
                for row in group
                if (draw := _draw(row[4:])).score is not None
            ]
            if scored:
                yield scored

    def n_items_without_draw(self) -> int:
        """Return how many items no row was of."""
        (n,) = self._database.execute(
            "SELECT COUNT(*) FROM items WHERE rank NOT IN (SELECT item FROM draws)"
        ).fetchone()
        return int(n)

    def _item(self, rank: int) -> Item:
        (text,) = self._database.execute("SELECT item FROM items WHERE rank = ?", (rank,)).fetchone()
        row = json.loads(text)
        return Item(
            **row
            | {
                "type": ItemType(row["type"]),
                "rule": AnswerRule(row["rule"]),
                "answers": tuple(row["answers"]),
                "wrong_answers": tuple(row["wrong_answers"]),
                "turns": tuple(map(tuple, row["turns"])),
            }
        )


@contextmanager
def open_draw_store() -> Iterator[DrawStore]:
    """Give an empty store in the system's folder for temporary files (``TMPDIR``); it is gone afterwards."""
    with scratch_folder("draws") as folder:
        database = sqlite3.connect(folder / "draws.sqlite", isolation_level=None)
        try:
            # Nothing here outlives a crash, so nothing has to be safe against one.
            for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
                database.execute(f"PRAGMA {setting}")
            database.executescript(_SCHEMA)
            database.execute("BEGIN")  # one transaction: no write waits for the disk
            yield DrawStore(database)
        finally:
            database.close()


def _key_values(key: DrawKey) -> tuple[int, int, float, int]:
    rank, arm, sample_index = key
    return rank, _CONDITIONS.index(arm.condition), arm.temperature, sample_index


def _draw(row: tuple[Any, ...]) -> StoredDraw:
    line, text, reason, logprob, *values = row
    score = dict(zip(_SCORE_FIELDS, values, strict=True))
    for name in ("is_abstention", "is_empty"):
        score[name] = None if score[name] is None else bool(score[name])
    return StoredDraw(
        line=line,
        text_digest=text,
        finish_reason=FinishReason(reason) if reason else None,
        mean_logprob=logprob,
        score=None if score["is_empty"] is None else Score(**score),
    )
