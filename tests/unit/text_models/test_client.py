"""A client against a server that says what it is told to say."""

import json
import os
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from overnight.engines.state import EngineState, write_state
from overnight.errors import BadResponse, EngineCrashed, EngineUnavailable, OutOfMemory
from overnight.text_models import client as clients
from overnight.text_models.client import TextModelClient
from overnight.text_models.values import PairValues
from overnight.uncertainty.relevance import Pair

PAIR = Pair("one", "other")
Answering = Callable[[int, str], TextModelClient]


@pytest.fixture
def asked() -> list[dict[str, object]]:
    return []


@pytest.fixture
def answering(tmp_path: Path, asked: list[dict[str, object]]) -> Iterator[Answering]:
    """Return a maker of clients whose host answers everything with that."""
    servers = []

    def make(status: int, answer: str) -> TextModelClient:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append({"path": self.path, "token": self.headers["Authorization"], **body})
                self.send_response(status)
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return client_of(tmp_path, url=f"http://127.0.0.1:{server.server_port}")

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def client_of(folder: Path, status: str = "serving", **state: object) -> TextModelClient:
    write_state(folder / "m.json", EngineState(status=status, token="secret", pid=os.getpid(), **state))
    return TextModelClient(folder / "m.json", timeout_s=5, startup_timeout_s=0.2)


def test_pairs_are_asked_with_the_token_and_values_come_back(answering: Answering, asked) -> None:
    client = answering(200, '{"values": [[0.5], [0.25]], "cut": [false, true]}')
    pairs = [PAIR, Pair("a\ud83d", "b")]
    assert client.values(pairs) == [PairValues([0.5], is_cut=False), PairValues([0.25], is_cut=True)]
    assert asked == [{"path": "/pairs", "token": "Bearer secret", "pairs": [list(pair) for pair in pairs]}]


@pytest.mark.parametrize(
    ("status", "answer", "error", "message"),
    [
        (
            507,
            '{"error": {"type": "OutOfMemory", "message": "too long"}}',
            OutOfMemory,
            "text model: too long",
        ),
        (
            500,
            '{"error": {"type": "BadResponse", "message": "no number"}}',
            BadResponse,
            "HTTP 500: no number",
        ),
        (500, '{"error": "broken"}', BadResponse, "HTTP 500: .*broken"),
        (401, "[]", BadResponse, r"HTTP 401: \[\]"),
        (200, "<html>", BadResponse, "HTTP 200, not JSON: '<html>'"),
        (200, '{"values": [[0.5]]}', BadResponse, "answered without 'cut'"),
        (200, '{"values": [], "cut": []}', BadResponse, "said 0 things of 1 pairs"),
        (200, '{"values": [[null]], "cut": [false]}', BadResponse, "answered without"),
    ],
)
def test_what_is_no_answer_is_one_line(
    answering: Answering, asked, status: int, answer: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        answering(status, answer).values([PAIR])
    assert "\n" not in str(caught.value)
    assert len(asked) == 1  # the same again would be answered the same


def test_a_host_that_dies_of_the_same_pairs_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_NOTICED_S", 0.0)
    client = client_of(tmp_path, url="http://127.0.0.1:9")  # nobody is there
    with pytest.raises(EngineCrashed, match="died 3 times of the same 1 pairs"):
        client.values([PAIR])


def test_a_host_that_failed_says_why(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory, match="cannot be loaded again: 4 GB"):
        client_of(tmp_path, "failed", error_kind="OutOfMemory", error="4 GB").values([PAIR])
    with pytest.raises(EngineCrashed, match="cannot be loaded again: no such file"):
        client_of(tmp_path, "failed", error_kind="EngineCrashed", error="no such file").values([PAIR])


def test_a_host_that_does_not_come_back_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with pytest.raises(EngineCrashed, match=r"did not come back within 0\.2 s"):
        client_of(tmp_path, "loading").values([PAIR])


def test_where_there_is_no_host_there_is_nobody_to_wait_for(tmp_path: Path) -> None:
    client = TextModelClient(tmp_path / "gone.json", timeout_s=5, startup_timeout_s=60)
    with pytest.raises(EngineUnavailable, match="no engine at"):
        client.values([PAIR])
