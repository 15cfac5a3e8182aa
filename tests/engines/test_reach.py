"""Who can reach an engine that we hold, and what can be seen of its token."""

import contextlib
import sys
from pathlib import Path

import httpx
import psutil
import pytest

PAGE = {"Origin": "https://evil.example", "Host": "evil.example"}
ASKED = (
    ("POST", "/v1/chat/completions"),
    ("POST", "/completion"),
    ("POST", "/tokenize"),
    ("POST", "/apply-template"),
    ("POST", "/slots/0?action=save"),
    ("POST", "/props"),
    ("GET", "/props"),
    ("GET", "/slots"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("GET", "/nothing"),
)


def test_only_this_machine_and_only_with_the_token(host) -> None:
    url, token, pid = host.state.url, host.state.token, host.state.pid
    listening = [c.laddr.ip for c in psutil.Process(pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]
    for method, path in ASKED:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {token}x"}):
            answer = httpx.request(method, f"{url}{path}", headers=PAGE | headers, json={}, timeout=20)
            assert answer.status_code in (401, 404), (path, answer.text)
            assert str(host.settings.model_path) not in answer.text
    right = {"Authorization": f"Bearer {token}"}
    assert httpx.post(f"{url}/tokenize", headers=right, json={"content": "a"}, timeout=20).status_code == 200


def test_no_page_may_read_what_wants_no_token(host) -> None:
    # An origin that no page has. llama.cpp would name the page's own, and let it send the user's cookies.
    for method, path in (("GET", "/health"), ("OPTIONS", "/v1/chat/completions"), ("POST", "/completion")):
        answer = httpx.request(method, f"{host.state.url}{path}", headers=PAGE, timeout=20)
        assert answer.headers.get("access-control-allow-origin", "") == ""
        assert answer.headers.get("access-control-allow-credentials", "false") == "false"
        assert answer.headers.get("access-control-allow-headers", "") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="command lines and environments are read from /proc")
def test_the_token_stands_in_the_state_file_alone_and_only_its_owner_reads_that(host) -> None:
    token = host.state.token
    for process in psutil.process_iter():  # a command line is anybody's to read
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            assert token not in " ".join(process.cmdline())
    assert token.encode() not in Path(f"/proc/{host.state.pid}/environ").read_bytes()
    for path in host.state_path.parent.iterdir():
        if path == host.state_path:
            assert path.stat().st_mode & 0o777 == 0o600
        elif path.is_file():
            assert token.encode() not in path.read_bytes()
