"""Sending requests: who is asked again, who is not, and that nothing counts before it is on disk.

The engine here is scripted: it fails on demand, which the real one does not.
"""

import asyncio
import dataclasses
from collections import Counter

import pytest

from overnight.engines.dispatch import DispatchPolicy, dispatch
from overnight.engines.dry_run import DryRunEngine
from overnight.errors import BadResponse, ContextOverflow, EngineCrashed, EngineUnavailable
from overnight.planning.requests import Request
from overnight.prompting.messages import Message
from overnight.store.journal import Journal, finished_ids, read_rows


class ScriptedEngine(DryRunEngine):
    """Raises what a request's script says, one entry an attempt, and answers when it has run out."""

    def __init__(self, script=None, *, comes_back: bool = True) -> None:
        self.script = script or {}
        self.comes_back = comes_back
        self.asked = Counter()
        self.under_way = self.most_under_way = self.recoveries = 0

    async def complete(self, request):
        self.asked[request.custom_id] += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0.001)
            todo = self.script.get(request.custom_id, [])
            if todo:
                raise todo.pop(0)
            return await super().complete(request)
        finally:
            self.under_way -= 1

    async def recover(self) -> None:
        self.recoveries += 1
        if not self.comes_back:
            raise EngineCrashed("gone for good")


def _requests(n: int, draws: int = 1) -> list[Request]:
    return [
        Request(
            custom_id=f"d|{i}|control|0.0|{draw}|closed",
            part="p01",
            messages=(Message(role="user", content=f"question {i}"),),
            temperature=0.0,
            top_p=1.0,
            top_k=0,
            max_new_tokens=4,
            seed=draw,
            stop=(),
        )
        for i in range(n)
        for draw in range(draws)
    ]


def _run(tmp_path, engine, requests, *, should_stop=lambda: False, on_answered=lambda rows: None, **policy):
    settings = DispatchPolicy(
        **({"concurrency": 4, "attempts_per_item": 3, "max_engine_restarts": 3} | policy)
    )
    with Journal(tmp_path / "generations.jsonl") as journal:
        asyncio.run(
            dispatch(
                requests,
                engine,
                journal,
                policy=settings,
                row_fields={"model_digest": None},
                should_stop=should_stop,
                on_answered=on_answered,
            )
        )
    return list(read_rows(tmp_path / "generations.jsonl"))


def test_every_request_is_asked_once_and_answered_once(tmp_path) -> None:
    engine = ScriptedEngine()
    rows = _run(tmp_path, engine, _requests(50, draws=3))
    assert Counter(row["custom_id"] for row in rows) == engine.asked
    assert len(rows) == 150


def test_no_more_are_under_way_than_were_asked_for(tmp_path) -> None:
    engine = ScriptedEngine()
    _run(tmp_path, engine, _requests(40), concurrency=3)
    assert engine.most_under_way == 3


def test_draws_of_one_prompt_follow_each_other(tmp_path) -> None:
    engine = ScriptedEngine()
    _run(tmp_path, engine, _requests(1, draws=6), concurrency=4)
    assert engine.most_under_way == 1  # so that the prompt is evaluated once


def test_rows_are_on_disk_when_they_are_counted(tmp_path) -> None:
    counted: set[str] = set()

    def check(rows) -> None:
        counted.update(row["custom_id"] for row in rows)
        assert counted <= finished_ids(tmp_path / "generations.jsonl")

    _run(tmp_path, ScriptedEngine(), _requests(30), on_answered=check)
    assert len(counted) == 30


def test_a_bad_answer_is_asked_again_and_becomes_an_error_row_in_the_end(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("overnight.engines.dispatch._RETRY_DELAY_S", 0)
    once, always = "d|0|control|0.0|0|closed", "d|1|control|0.0|0|closed"
    engine = ScriptedEngine({once: [BadResponse("html")], always: [BadResponse("html")] * 3})
    rows = {row["custom_id"]: row for row in _run(tmp_path, engine, _requests(2))}
    assert (rows[once]["status"], rows[once]["attempt"]) == ("ok", 2)
    assert rows[always]["status"] == "error"
    assert rows[always]["text"] is None
    assert rows[always]["error"] == {"kind": "BadResponse", "message": "html"}


def test_a_prompt_that_does_not_fit_is_not_asked_again(tmp_path) -> None:
    name = "d|0|control|0.0|0|closed"
    engine = ScriptedEngine({name: [ContextOverflow("too long")]})
    rows = _run(tmp_path, engine, _requests(1))
    assert engine.asked[name] == 1
    assert rows[0]["error"]["kind"] == "ContextOverflow"


def test_an_engine_that_died_costs_the_requests_under_way_and_is_waited_for_once(tmp_path) -> None:
    dying = {request.custom_id: [EngineUnavailable("killed")] for request in _requests(4)}
    engine = ScriptedEngine(dying)
    rows = _run(tmp_path, engine, _requests(20))
    assert engine.recoveries == 1  # four requests noticed one death
    assert all(row["status"] == "ok" for row in rows)
    assert len(rows) == 20


def test_a_request_that_kills_the_engine_takes_no_innocent_one_with_it(tmp_path) -> None:
    poison = "d|2|control|0.0|0|closed"

    class Fragile(ScriptedEngine):
        """Dies of one request, and with it whatever else is under way."""

        deaths = 0

        async def complete(self, request):
            before = self.deaths
            if request.custom_id == poison:
                await asyncio.sleep(0.005)
                self.deaths += 1
                raise EngineUnavailable("killed by the prompt")
            completion = await super().complete(request)
            await asyncio.sleep(0.005)
            if self.deaths != before:
                raise EngineUnavailable("killed with it")
            return completion

    rows = _run(tmp_path, Fragile(), _requests(30), max_engine_restarts=9)
    failed = [row["custom_id"] for row in rows if row["status"] == "error"]
    assert failed == [poison]


def test_an_engine_that_keeps_dying_ends_the_trial_with_what_it_answered(tmp_path) -> None:
    names = [request.custom_id for request in _requests(8)]
    engine = ScriptedEngine({name: [EngineUnavailable("again")] * 9 for name in names[4:]})
    with pytest.raises(EngineCrashed, match="died 3 times without an answer"):
        _run(tmp_path, engine, _requests(8), max_engine_restarts=2, attempts_per_item=9)
    assert set(names[:4]) <= finished_ids(tmp_path / "generations.jsonl")


def test_an_engine_that_is_gone_for_good_is_an_error_at_once(tmp_path) -> None:
    engine = ScriptedEngine({"d|5|control|0.0|0|closed": [EngineUnavailable("killed")]}, comes_back=False)
    with pytest.raises(EngineCrashed, match="gone for good"):
        _run(tmp_path, engine, _requests(20))


def test_a_stop_sends_nothing_more_and_keeps_what_was_under_way(tmp_path) -> None:
    engine = ScriptedEngine()
    rows = _run(tmp_path, engine, _requests(100), should_stop=lambda: engine.asked.total() >= 10)
    assert 10 <= len(rows) < 20
    assert len(rows) == engine.asked.total()


def test_a_journal_that_cannot_be_written_to_ends_the_dispatch(tmp_path, monkeypatch) -> None:
    def no_space(self, rows) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "append", no_space)
    with pytest.raises(OSError, match="No space left"):
        _run(tmp_path, ScriptedEngine(), _requests(200))


def test_a_row_holds_what_was_asked_and_the_digest_of_each_message(tmp_path) -> None:
    (request,) = _requests(1)
    (row,) = _run(tmp_path, ScriptedEngine(), [request])
    assert row["sent"]["seed"] == request.seed
    assert row["prompts"] == request.prompt_digests
    assert row["request_id"] == request.digest(None)[:32]
    assert dataclasses.replace(request, part="elsewhere").digest(None)[:32] == row["request_id"]
