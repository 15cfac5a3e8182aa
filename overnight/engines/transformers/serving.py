"""A small HTTP server on loopback, behind a token: JSON in, JSON out."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    500: "Internal Server Error",
}
_REASONS |= {507: "Insufficient Storage"}


class RefusedRequest(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class Gone(Exception):
    """Whoever asked is not there any more."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever waits for an answer."""

    reader: asyncio.StreamReader

    async def wait_for(self, answer: "asyncio.Future[Any]") -> Any:
        """Return an answer when it is there.

        Raises:
            Gone: the connection was closed meanwhile.
        """
        leaves = asyncio.ensure_future(self.reader.read(1))  # nothing is sent before the answer is there
        try:
            await asyncio.wait({answer, leaves}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise Gone
            return answer.result()
        finally:
            leaves.cancel()
            await asyncio.wait({leaves})  # two readers of one stream are an error


Handler = Callable[[dict[str, Any], Caller], Awaitable[dict[str, Any]]]


class LoopbackServer:
    """Serves handlers by ``METHOD /path``; those in ``public`` want no token."""

    def __init__(self, token: str, handlers: dict[str, Handler], public: frozenset[str]) -> None:
        self._expected = f"Bearer {token}".encode()
        self._handlers = handlers
        self._public = public

    async def start(self, port: int) -> asyncio.Server:
        """Listen."""
        return await asyncio.start_server(self._connection, "127.0.0.1", port)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length") or 0))
                method, path, _ = head[0].split(" ", 2)
                status, value = await self._answer(f"{method} {path}", headers, body, Caller(reader))
                data = json.dumps(value, allow_nan=False).encode()
                writer.write(
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(data)}\r\n\r\n".encode()
                    + data
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError, Gone):
            pass  # the other side left, or does not speak HTTP
        finally:
            writer.close()

    async def _answer(
        self, name: str, headers: dict[str, str], body: bytes, caller: Caller
    ) -> tuple[int, dict[str, Any]]:
        try:
            return 200, await self._handled(name, headers, body, caller)
        except RefusedRequest as refused:
            return refused.status, {"error": {"type": refused.kind, "message": str(refused)}}

    async def _handled(
        self, name: str, headers: dict[str, str], body: bytes, caller: Caller
    ) -> dict[str, Any]:
        if name not in self._public and not self._is_authorised(headers):
            raise RefusedRequest(401, "Unauthorized", "the token of the state file is wanted")
        if name not in self._handlers:
            raise RefusedRequest(404, "NotFound", f"no {name} here")
        try:
            value = json.loads(body) if body else {}
        except ValueError as error:
            raise RefusedRequest(400, "BadRequest", f"not JSON ({error})") from None
        if not isinstance(value, dict):
            raise RefusedRequest(400, "BadRequest", "a JSON object was wanted")
        return await self._handlers[name](value, caller)

    def _is_authorised(self, headers: dict[str, str]) -> bool:
        return hmac.compare_digest(headers.get("authorization", "").encode(), self._expected)
