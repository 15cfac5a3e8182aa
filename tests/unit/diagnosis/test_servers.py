import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from overnight.diagnosis.machine.check import Status, Surroundings
from overnight.diagnosis.machine.servers import (
    check_hub,
    check_ollama,
    check_prefect,
    ollama_url,
)
from overnight.prefect_settings import prefect_url
from overnight.processes import free_port


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answers: dict[str, Any] = self.server.answers  # type: ignore[attr-defined]
        found = self.path in answers
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(answers.get(self.path)).encode())

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Return a server on loopback that says what its ``answers`` hold, by path."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as each:
        each.answers = {}  # type: ignore[attr-defined]
        thread = threading.Thread(target=lambda: each.serve_forever(poll_interval=0.01), daemon=True)
        thread.start()
        yield each
        each.shutdown()
        thread.join()


def around(**environment: str) -> Surroundings:
    return Surroundings(experiments=Path(), cache=Path(), config=Path(), environment=environment)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        # The forms that Ollama's own documentation of OLLAMA_HOST has.
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:1234", "http://box:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("http://box", "http://box:80"),
        ("https://box/ollama/", "https://box:443/ollama"),
        ("[::1]:5", "http://[::1]:5"),
    ],
)
def test_the_address_of_ollama_is_read_as_ollama_reads_it(host: str | None, url: str) -> None:
    assert ollama_url(host) == url


def test_an_ollama_server_is_described_with_its_models(server: ThreadingHTTPServer) -> None:
    server.answers = {  # type: ignore[attr-defined]
        "/api/version": {"version": "0.12.0"},
        "/api/tags": {"models": [{"name": "llama3.1:8b"}, {"name": "gemma2:9b"}]},
        "/api/ps": {"models": []},
    }
    (check,) = check_ollama(around(OLLAMA_HOST=f"127.0.0.1:{server.server_port}"))
    assert check.status is Status.OK
    assert "0.12.0" in check.what
    assert check.values["models"] == ["gemma2:9b", "llama3.1:8b"]


def test_a_model_that_ollama_holds_takes_memory_from_the_others(server: ThreadingHTTPServer) -> None:
    server.answers = {  # type: ignore[attr-defined]
        "/api/version": {"version": "0.12.0"},
        "/api/tags": {"models": None},
        "/api/ps": {"models": [{"name": "llama3.1:8b", "size": 2**32}]},
    }
    (check,) = check_ollama(around(OLLAMA_HOST=f"127.0.0.1:{server.server_port}"))
    assert check.status is Status.NOTE
    assert "llama3.1:8b (4.0 GiB)" in check.what


def test_an_ollama_that_is_not_there_is_information_only() -> None:
    (check,) = check_ollama(around(OLLAMA_HOST=f"127.0.0.1:{free_port()}"))
    assert check.status is Status.NOTE


def test_a_prefect_api_that_does_not_answer_is_a_problem(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    # A flow that was told of an API asks it first, and fails without.
    url = f"http://127.0.0.1:{server.server_port}/api"
    server.answers = {"/api/health": True}  # type: ignore[attr-defined]
    (there,) = check_prefect(around(PREFECT_API_URL=url))
    (gone,) = check_prefect(around(PREFECT_API_URL=f"http://me:s3cret@127.0.0.1:{free_port()}/api"))
    (none,) = check_prefect(around(PREFECT_HOME=str(tmp_path)))
    (other,) = check_prefect(
        around(PREFECT_API_URL=url.replace("/api", "/else"))
    )  # a server, but not Prefect's
    statuses = [check.status for check in (there, gone, none, other)]
    assert statuses == [Status.OK, Status.PROBLEM, Status.OK, Status.PROBLEM]
    assert "s3cret" not in str(gone.as_row())


def test_the_api_of_prefects_active_profile_counts_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".prefect").mkdir()
    text = 'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "http://a/api"\n[profiles.other]\n'
    (tmp_path / ".prefect" / "profiles.toml").write_text(text, encoding="utf-8")
    assert prefect_url({}, tmp_path) == "http://a/api"
    assert prefect_url({"PREFECT_PROFILE": "other"}, tmp_path) is None
    assert prefect_url({"PREFECT_API_URL": "http://b/api"}, tmp_path) == "http://b/api"
    assert prefect_url({}, tmp_path / "nowhere") is None


def test_the_hub_is_asked_only_where_the_user_wants_it(server: ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    (silent,) = check_hub(around(HF_ENDPOINT=url))
    assert silent.status is Status.OK
    assert "--online" in silent.what
    online = Surroundings(
        experiments=Path(), cache=Path(), config=Path(), environment={"HF_ENDPOINT": url}, is_online=True
    )
    assert check_hub(online)[0].status is Status.NOTE
