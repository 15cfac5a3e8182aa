"""A server in front of a real one that misbehaves on demand, in the words that real services use."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx

# What is done to a request for an answer in place of passing it on; None passes it on.
Trick = Callable[["_Handler", dict[str, Any]], bool]


def answer(status: int, body: Any, **headers: str) -> Trick:
    """Answer by itself; ``headers`` with underscores for dashes."""

    def trick(handler: "_Handler", asked: dict[str, Any]) -> bool:
        handler.reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return trick


def hang(seconds: float) -> Trick:
    """Say nothing for a while, then close the connection."""

    def trick(handler: "_Handler", asked: dict[str, Any]) -> bool:
        time.sleep(seconds)
        handler.close_connection = True
        return True

    return trick


def drop() -> Trick:
    """Close the connection in the middle of a request."""

    def trick(handler: "_Handler", asked: dict[str, Any]) -> bool:
        handler.close_connection = True
        return True

    return trick


def refuse_logprobs(status: int, message: str) -> Trick:
    """Refuse a request for log-probabilities, and pass on others."""

    def trick(handler: "_Handler", asked: dict[str, Any]) -> bool:
        if "logprobs" not in asked:
            return False
        handler.reply(status, {"error": {"message": message, "type": "invalid_request_error"}}, {})
        return True

    return trick


def alter(change: Callable[[dict[str, Any]], None]) -> Trick:
    """Pass a request on and change its answer."""

    def trick(handler: "_Handler", asked: dict[str, Any]) -> bool:
        status, body = handler.pass_on(asked)
        change(body)
        handler.reply(status, body, {})
        return True

    return trick


@dataclass
class Proxy:
    """The proxy; a context manager while it listens."""

    target: str
    tricks: deque[Trick] = field(default_factory=deque)  # for the next requests, one each
    always: Trick | None = None  # for all others
    asked: list[dict[str, Any]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._at_once = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next_trick(self, asked: dict[str, Any], key: str | None) -> Trick | None:
        with self._lock:
            self.asked.append(asked)
            self.at.append(time.monotonic())
            self.keys.append(key)
            return self.tricks.popleft() if self.tricks else self.always

    def under_way(self, change: int) -> None:
        with self._lock:
            self._at_once += change
            self.most_at_once = max(self.most_at_once, self._at_once)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def do_GET(self) -> None:
        self.proxy.paths.append(self.path)
        response = httpx.get(
            f"{self.proxy.target}{self.path}", headers=self._key(), timeout=60, trust_env=False
        )
        self.reply(response.status_code, response.text, {})

    def do_POST(self) -> None:
        self.proxy.paths.append(self.path)
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.endswith("/chat/completions"):
            self.reply(*self.pass_on(asked), {})
            return
        trick = self.proxy.next_trick(asked, self.headers.get("authorization"))
        self.proxy.under_way(+1)
        try:
            if trick is None or not trick(self, asked):
                self.reply(*self.pass_on(asked), {})
        finally:
            self.proxy.under_way(-1)

    def pass_on(self, asked: dict[str, Any]) -> tuple[int, Any]:
        response = httpx.post(
            f"{self.proxy.target}{self.path}", json=asked, headers=self._key(), timeout=60, trust_env=False
        )
        return response.status_code, response.json()

    def reply(self, status: int, body: Any, headers: dict[str, str]) -> None:
        payload = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(payload))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def _key(self) -> dict[str, str]:
        key = self.headers.get("authorization")
        return {"authorization": key} if key else {}

    def log_message(self, *_: object) -> None:
        """Say nothing."""
