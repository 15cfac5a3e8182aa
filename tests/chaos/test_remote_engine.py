"""A server somewhere that answers slowly, wrongly, partly or not at all, and a network that is down for a while."""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from overnight.engines.dispatch import DispatchPolicy, dispatch
from overnight.engines.openai.client import OpenAIEngine
from overnight.engines.openai.holder import ServedElsewhere
from overnight.spec.engine_openai import OpenAISettings
from overnight.store.journal import Journal, is_done, read_rows
from tests.engines.contract import question, served_model

N_REQUESTS = 60
NAME = "echo"


class Echo(BaseHTTPRequestHandler):
    """Says back what it is asked, so that an answer to somebody else's question shows; most answers come to grief."""

    protocol_version = "HTTP/1.1"
    draw = random.Random(8)
    share = 0.6  # of answers that come to grief
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._say(json.dumps({"data": [{"id": NAME}]}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = asked["messages"][-1]["content"]
        message = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", "index": 0}
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        whole = json.dumps({"model": NAME, "choices": [message], "usage": usage}).encode()
        with self.lock:
            kind = self.draw.choice(sorted(_GRIEF)) if self.draw.random() < self.share else None
        if kind == "slow":
            time.sleep(0.2)
        elif kind is not None:
            self._say(*_GRIEF[kind](whole))
            return
        self._say(whole)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _say(self, body: bytes, length: int | None = None, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)
        if length is not None:
            self.close_connection = True


_GRIEF = {
    "slow": None,
    "html": lambda _: (b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", None, 200),
    "bad gateway": lambda _: (b"<html>502</html>", None, 502),
    "cut off": lambda whole: (whole[: len(whole) // 2], len(whole), 200),
    "half a json": lambda whole: (whole[: len(whole) // 2], None, 200),
    "nothing": lambda _: (b"", None, 200),
    "no choice": lambda _: (b'{"choices": []}', None, 200),
    "a list": lambda _: (b"[]", None, 200),
    "not its end": lambda whole: (whole.replace(b'"stop"', b"null"), None, 200),
    "not a text": lambda whole: (
        json.dumps(json.loads(whole) | {"choices": [{"message": 7}]}).encode(),
        None,
        200,
    ),
}


class Network:
    """A server whose port can be taken away and given back."""

    def __init__(self) -> None:
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.up()

    def up(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Echo)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def network() -> Iterator[Network]:
    found = Network()
    yield found
    found.down()


def _ask(
    network: Network,
    folder: Path,
    *,
    patience_s: float = 60.0,
    startup_timeout_s: float = 30.0,
    outage_s: float = 0,
) -> list[dict[str, Any]]:
    """Ask every question of whatever answers, and return the journal."""
    model = served_model(f"http://127.0.0.1:{network.port}/v1", NAME, dialect="openai", api_key_env=None)
    holder = ServedElsewhere(model, folder, slots=4, startup_timeout_s=5)
    holder.start()
    engine = OpenAIEngine(
        holder.state_path,
        model,
        settings=OpenAISettings(attempts=10, patience_s=patience_s),
        concurrency=4,
        timeout_s=5,
        startup_timeout_s=startup_timeout_s,
        first_wait_s=0.005,
    )
    requests = [question(f"Say {n}.", custom_id=f"d|{n}|control|0.0|0|closed") for n in range(N_REQUESTS)]
    answered = 0

    def count(rows: list[dict[str, Any]]) -> None:
        nonlocal answered
        answered += len(rows)
        if outage_s and answered >= N_REQUESTS // 3 and network.port and not outages:
            outages.append(threading.Thread(target=_outage, args=(network, outage_s)))
            outages[0].start()

    outages: list[threading.Thread] = []

    async def send(journal: Journal) -> None:
        try:
            await dispatch(
                requests,
                engine,
                journal,
                policy=DispatchPolicy(concurrency=4, attempts_per_item=5, max_engine_restarts=3),
                row_fields={"model_digest": "served-0"},
                should_stop=lambda: False,
                on_answered=count,
            )
        finally:
            await engine.close()

    with Journal(folder / "generations.jsonl") as journal:
        asyncio.run(send(journal))
    for thread in outages:
        thread.join()
    holder.__exit__(None, None, None)
    assert not outage_s or outages
    return list(read_rows(folder / "generations.jsonl"))


def _outage(network: Network, seconds: float) -> None:
    network.down()
    time.sleep(seconds)
    network.up()


def _require_each_its_own(rows: list[dict[str, Any]]) -> None:
    done = [row for row in rows if is_done(row)]
    assert Counter(row["custom_id"] for row in done) == {
        f"d|{n}|control|0.0|0|closed": 1 for n in range(N_REQUESTS)
    }
    for row in done:
        assert row["text"] == f"Say {row['custom_id'].split('|')[1]}."


def test_whatever_a_server_says_each_question_has_its_own_answer_once_or_an_error(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overnight.engines.dispatch._RETRY_DELAY_S", 0.02)
    rows = _ask(network, tmp_path)
    for row in rows:
        if is_done(row):
            assert row["text"] == f"Say {row['custom_id'].split('|')[1]}."
        else:
            assert row["error"]
    answered = Counter(row["custom_id"] for row in rows if is_done(row))
    assert set(answered.values()) == {1}
    assert {row["custom_id"] for row in rows} == {f"d|{n}|control|0.0|0|closed" for n in range(N_REQUESTS)}


@pytest.mark.parametrize("outage_s", [1.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_a_network_that_is_down_for_a_while_costs_that_while(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outage_s: float
) -> None:
    monkeypatch.setattr(Echo, "share", 0.0)
    rows = _ask(network, tmp_path, startup_timeout_s=4 * outage_s, patience_s=4 * outage_s, outage_s=outage_s)
    assert not [row for row in rows if not is_done(row)]  # no question was given up
    _require_each_its_own(rows)
