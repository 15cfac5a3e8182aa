"""A small HTTP server on loopback, behind a token: JSON in, JSON out."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

_ADDRESS = "127.0.0.1"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    421: "Misdirected Request",
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
    """Serves handlers by ``METHOD /path`` to whoever has the token.

    Whatever runs on this machine can connect, and so can the pages that somebody looks at here. Of a request without
    the token nothing but its head is read; one that was sent to another name than loopback's, as by a page whose name
    was made to mean this machine, is refused with it; and no answer says that another origin may read it.
    """

    def __init__(self, token: str, handlers: dict[str, Handler]) -> None:
        self._expected = f"Bearer {token}".encode()
        self._handlers = handlers

    async def start(self, port: int) -> asyncio.Server:
        """Listen."""
        return await asyncio.start_server(self._connection, _ADDRESS, port)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:])
                }
                if refused := self._refusal(headers):
                    await _write(writer, *_as_answer(refused))
                    return  # what it sent beside its head was not read
                body = await reader.readexactly(int(headers.get("content-length") or 0))
                method, path, _ = head[0].split(" ", 2)
                await _write(writer, *await self._answer(f"{method} {path}", body, Caller(reader)))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError, Gone):
            pass  # the other side left, or does not speak HTTP
        finally:
            writer.close()

    def _refusal(self, headers: dict[str, str]) -> RefusedRequest | None:
        """Return why a request is not even read; None where it is."""
        if headers.get("host", _ADDRESS).partition(":")[0] not in (_ADDRESS, "localhost"):
            return RefusedRequest(421, "Misdirected", "this is no server of that name")
        if not hmac.compare_digest(headers.get("authorization", "").encode(), self._expected):
            return RefusedRequest(401, "Unauthorized", "the token of the state file is wanted")
        return None

    async def _answer(self, name: str, body: bytes, caller: Caller) -> tuple[int, dict[str, Any]]:
        try:
            return 200, await self._handled(name, body, caller)
        except RefusedRequest as refused:
            return _as_answer(refused)

    async def _handled(self, name: str, body: bytes, caller: Caller) -> dict[str, Any]:
        if name not in self._handlers:
            raise RefusedRequest(404, "NotFound", f"no {name} here")
        try:
            value = json.loads(body) if body else {}
        except ValueError as error:
            raise RefusedRequest(400, "BadRequest", f"not JSON ({error})") from None
        if not isinstance(value, dict):
            raise RefusedRequest(400, "BadRequest", "a JSON object was wanted")
        return await self._handlers[name](value, caller)


def _as_answer(refused: RefusedRequest) -> tuple[int, dict[str, Any]]:
    return refused.status, {"error": {"type": refused.kind, "message": str(refused)}}


async def _write(writer: asyncio.StreamWriter, status: int, value: dict[str, Any]) -> None:
    data = json.dumps(value, allow_nan=False).encode()
    writer.write(
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n".encode()
        + data
    )
    await writer.drain()
