"""From a trial's journal and tables to counts, one row at a time; memory grows by a number a draw, not by a row."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from overnight.diagnosis.evidence import Answers, Arm, Draws, Tables
from overnight.ids import split_custom_id, temperature_label
from overnight.store.journal import Row, is_done

# How our own engines put it; an engine that puts it otherwise is counted by the kind of its error alone.
_TIMEOUT = "no answer within"
_NEEDS = re.compile(r"the prompt has (\d+) tokens and its answer up to (\d+)")
_WIDEST_FIELD = 1 << 24  # characters of a reply in a table


def tally_draws(rows: Iterable[Row]) -> Draws:
    """Return what the rows of a journal come to.

    Raises:
        StoreError: a row names no draw.
    """
    tally = _Tally()
    for row in rows:
        tally.add(row)
    return tally.draws()


def tally_tables(predictions: Path, scores: Path) -> Tables:
    """Return how many rows the tables of a trial have.

    Raises:
        KeyError: a table lacks a column.
        OSError: a table cannot be read.
    """
    csv.field_size_limit(_WIDEST_FIELD)
    n_rows = n_arms = 0
    seen: set[int] = set()
    before: tuple[str, ...] = ()
    if predictions.is_file():
        with predictions.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                n_rows += 1
                seen.add(hash(row["custom_id"]))
                arm = (row["dataset"], row["item_id"], row["condition"], row["temp"])
                n_arms += arm != before
                before = arm
    n_scores = None
    if scores.is_file():
        with scores.open(encoding="utf-8-sig", newline="") as file:
            n_scores = sum(1 for _ in csv.DictReader(file))
    if not predictions.is_file():
        return Tables(n_scores=n_scores)
    return Tables(
        n_predictions=n_rows,
        n_prediction_arms=n_arms,
        n_repeated_ids=n_rows - len(seen),
        n_scores=n_scores,
    )


@dataclass(slots=True)
class _Lengths:
    ended: Counter[int] = field(default_factory=Counter)
    n_cut: int = 0
    n_unknown: int = 0


@dataclass(slots=True)
class _Sums:
    """Of answers that the engine gave; a sum of nothing is None."""

    n: int = 0
    prompt: int | None = None
    cached: int | None = None
    completion: int | None = None
    prefill_s: float | None = None
    decode_s: float | None = None

    def add(self, row: Row) -> None:
        self.n += 1
        prompt, cached, completion = (
            row.get(f"{name}_tokens") for name in ("prompt", "cached", "completion")
        )
        if prompt is not None and cached is not None:
            self.prompt = (self.prompt or 0) + prompt
            self.cached = (self.cached or 0) + cached
        if completion is not None:
            self.completion = (self.completion or 0) + completion
        prefill_s, decode_s = row.get("prefill_s"), row.get("decode_s")
        if prefill_s is not None and decode_s is not None:
            self.prefill_s = (self.prefill_s or 0.0) + prefill_s
            self.decode_s = (self.decode_s or 0.0) + decode_s


class _Tally:
    def __init__(self) -> None:
        self._done: set[int] = set()  # hashes: a million draws are tens of megabytes
        self._failed: dict[int, tuple[str, bool]] = {}  # the kind of the error, and whether it was a time-out
        self._messages: dict[str, str] = {}
        self._answers: dict[Arm, _Lengths] = {}
        self._sums = _Sums()
        self._n_repeated = self._n_retried = self._n_empty = 0
        self._overflow: int | None = None
        self._longest_prompt: int | None = None
        self._longest_request: int | None = None

    def add(self, row: Row) -> None:
        draw = hash(row["custom_id"])
        self._n_retried += (row.get("attempt") or 0) > 1
        if not is_done(row):
            self._add_error(draw, row)
            return
        self._failed.pop(draw, None)
        if draw in self._done:
            self._n_repeated += 1
            return
        self._done.add(draw)
        self._n_empty += not (row.get("text") or "").strip()
        self._add_length(row)
        prompt = row.get("prompt_tokens")
        if prompt is not None:
            self._longest_prompt = max(self._longest_prompt or 0, prompt)
            whole = prompt + (row.get("completion_tokens") or 0)
            self._longest_request = max(self._longest_request or 0, whole)
        if not row.get("cached"):
            self._sums.add(row)

    def _add_error(self, draw: int, row: Row) -> None:
        error: Mapping[str, str] = row.get("error") or {}
        kind, message = str(error.get("kind", "unknown")), str(error.get("message", ""))
        self._messages.setdefault(kind, message)
        if needs := _NEEDS.search(message):
            self._overflow = max(self._overflow or 0, int(needs[1]) + int(needs[2]))
        if draw not in self._done:
            self._failed[draw] = (kind, _TIMEOUT in message)

    def _add_length(self, row: Row) -> None:
        _, _, condition, temperature, _, item_type = split_custom_id(row["custom_id"])
        arm = Arm(item_type, condition, temperature_label(temperature))
        lengths = self._answers.setdefault(arm, _Lengths())
        if row.get("finish_reason") == "length":
            lengths.n_cut += 1
        elif row.get("completion_tokens") is None:
            lengths.n_unknown += 1
        else:
            lengths.ended[row["completion_tokens"]] += 1

    def draws(self) -> Draws:
        failed = self._failed.values()
        return Draws(
            n_done=len(self._done),
            n_repeated=self._n_repeated,
            n_retried=self._n_retried,
            n_empty=self._n_empty,
            n_sent=self._sums.n,
            failed=dict(Counter(kind for kind, _ in failed)),
            messages=self._messages,
            n_timeouts=sum(is_timeout for _, is_timeout in failed),
            n_overflow_tokens=self._overflow,
            answers={
                arm: Answers(ended=dict(each.ended), n_cut=each.n_cut, n_unknown=each.n_unknown)
                for arm, each in self._answers.items()
            },
            prompt_tokens=self._sums.prompt,
            cached_tokens=self._sums.cached,
            completion_tokens=self._sums.completion,
            prefill_s=self._sums.prefill_s,
            decode_s=self._sums.decode_s,
            longest_prompt=self._longest_prompt,
            longest_request=self._longest_request,
        )
