"""Our own hosts answer nobody without their token, and no page in a browser, whatever it calls this machine."""

import asyncio
import json
from typing import Any

import pytest

from overnight.engines.transformers.serving import Caller, LoopbackServer

TOKEN = "right-token"


async def _answer(*requests: bytes) -> list[bytes]:
    """Return what a server says to requests on one connection, and which of them reached a handler."""
    handled: list[dict[str, Any]] = []

    async def handle(body: dict[str, Any], _: Caller) -> dict[str, Any]:
        handled.append(body)
        return {"n": len(handled)}

    server = await LoopbackServer(TOKEN, {"POST /x": handle, "GET /health": handle}).start(0)
    (address, port), *others = (socket.getsockname() for socket in server.sockets)
    assert (address, others) == ("127.0.0.1", [])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        writer.write(request)
    writer.write_eof()
    said = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    server.close()
    await server.wait_closed()
    return [said, json.dumps(handled).encode()]


def _request(*headers: str, name: str = "POST /x", body: bytes = b"{}") -> bytes:
    head = [f"{name} HTTP/1.1", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def _ask(*requests: bytes) -> list[bytes]:
    return asyncio.run(_answer(*requests))


RIGHT = f"Authorization: Bearer {TOKEN}"


@pytest.mark.parametrize(
    "host", [(), ("Host: 127.0.0.1:8000",), ("Host: localhost:9",), ("Host: localhost",)]
)
@pytest.mark.parametrize("name", ["POST /x", "GET /health"])
def test_whoever_has_the_token_is_answered(host: tuple[str, ...], name: str) -> None:
    said, _ = _ask(_request(RIGHT, *host, name=name))
    assert said.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Authorization: Bearer wrong-token",),
        ("Authorization: Bearer ",),
        (f"Authorization: {TOKEN}",),
        (f"Authorization: Basic {TOKEN}",),
        (f"Authorization: Bearer {TOKEN}x",),
        (f"Authorization: Bearer {TOKEN[:-1]}",),
        ("Authorization: Bearer \xff\xfe",),
        (f"Cookie: token={TOKEN}", f"X-Authorization: Bearer {TOKEN}"),
    ],
)
@pytest.mark.parametrize("name", ["POST /x", "GET /health", "OPTIONS /x", "GET /nothing"])
def test_without_the_token_nothing_is_handled_and_nothing_is_said_of_what_is_there(
    headers: tuple[str, ...], name: str
) -> None:
    said, handled = _ask(_request(*headers, name=name))
    assert said.startswith(b"HTTP/1.1 401 Unauthorized")
    assert handled == b"[]"
    assert TOKEN.encode() not in said


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.7", "[::1]:1", ""]
)
def test_another_name_for_this_machine_is_refused_even_with_the_token(host: str) -> None:
    # DNS rebinding: a page of evil.example, whose name is made to mean 127.0.0.1, is of the same origin as we are.
    said, handled = _ask(_request(RIGHT, f"Host: {host}"))
    assert said.startswith(b"HTTP/1.1 421")
    assert handled == b"[]"


def test_no_answer_lets_another_origin_read_it() -> None:
    for headers in ((RIGHT,), (), (RIGHT, "Access-Control-Request-Method: POST")):
        for name in ("POST /x", "OPTIONS /x"):
            said, _ = _ask(_request(*headers, "Origin: https://evil.example", name=name))
            assert b"access-control" not in said.lower()


def test_what_is_sent_without_the_token_is_not_read() -> None:
    # A body of many gigabytes would otherwise be held in memory before anybody looks at who sent it.
    head = b"POST /x HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"
    said, _ = _ask(head)
    assert said.startswith(b"HTTP/1.1 401")


def test_a_second_request_behind_a_refused_one_is_not_answered() -> None:
    said, handled = _ask(_request(), _request(RIGHT))
    assert said.count(b"HTTP/1.1") == 1
    assert handled == b"[]"


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "0x10"])
def test_a_length_that_is_none_ends_the_connection(length: str) -> None:
    said, handled = _ask(f"POST /x HTTP/1.1\r\n{RIGHT}\r\nContent-Length: {length}\r\n\r\n{{}}".encode())
    assert (said, handled) == (b"", b"[]")


def test_tokens_are_compared_in_the_same_time_wherever_they_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(
        "overnight.engines.transformers.serving.hmac.compare_digest",
        lambda a, b: bool(seen.append((a, b))) or a == b,
    )
    _ask(_request("Authorization: Bearer wrong"))
    assert seen == [(b"Bearer wrong", f"Bearer {TOKEN}".encode())]
