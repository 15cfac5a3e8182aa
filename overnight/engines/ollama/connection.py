"""The official client, with what its own methods cannot send or do not ask for."""

from typing import Any

from ollama import AsyncClient, ChatResponse, Client
from pydantic import BaseModel

from overnight.engines.ollama.server import ServerVersion, parse_version


class Answer(ChatResponse):
    """An answer of ``/api/chat`` with what the client's type leaves out."""

    prompt_eval_cached_count: int | None = None


class VersionAnswer(BaseModel):
    """An answer of ``/api/version``."""

    version: str


class Server(Client):
    """A server, for whoever can wait."""

    def answer(self, body: dict[str, Any]) -> Answer:
        """Post to ``/api/chat``; the client's ``chat`` knows neither ``truncate`` nor ``shift``."""
        return self._request(Answer, "POST", "/api/chat", json=body)

    def version(self) -> ServerVersion:
        """Return what ``/api/version`` says.

        Raises:
            ValueError: that is no version.
        """
        return parse_version(self._request(VersionAnswer, "GET", "/api/version").version)


class AsyncServer(AsyncClient):
    """A server, for many requests at once."""

    async def answer(self, body: dict[str, Any]) -> Answer:
        """Post to ``/api/chat``; the client's ``chat`` knows neither ``truncate`` nor ``shift``."""
        return await self._request(Answer, "POST", "/api/chat", json=body)

    async def version(self) -> ServerVersion:
        """Return what ``/api/version`` says.

        Raises:
            ValueError: that is no version.
        """
        return parse_version((await self._request(VersionAnswer, "GET", "/api/version")).version)
