"""The connection to a server: one request, one answer or one problem, nothing tried twice."""

import asyncio
from typing import Any

import httpx

from overnight.engines.answer_values import read_body, written_body
from overnight.engines.openai.access import beside, client_settings, read_key
from overnight.engines.openai.problems import OK, Problem, error_in, judge, without_key
from overnight.errors import BadResponse, EngineUnavailable
from overnight.spec.engine_openai import Endpoint

_JSON = {"Content-Type": "application/json"}


class Connection:
    """Opened when it is first needed, and again after it was closed."""

    def __init__(self, endpoint: Endpoint, model: str, *, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._model = model
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None
        self._key: str | None = None

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the JSON that the server answers below its /v1, or the problem with it.

        Raises:
            UsageError: the environment variable of its key is not set.
        """
        return await self._send(method, f"{self._endpoint.base_url}{path}", body)

    async def send_beside(self, path: str, body: dict[str, Any]) -> Any:
        """Return the JSON that the server answers beside its /v1, or the problem with it; see ``send``."""
        return await self._send("POST", beside(self._endpoint, path), body)

    async def close(self) -> None:
        """Give the sockets back."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _send(self, method: str, url: str, body: dict[str, Any] | None) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                content = None if body is None else written_body(body)
                response = await self._http().request(method, url, content=content, headers=_JSON)
        except (httpx.TimeoutException, TimeoutError):
            return Problem(
                kind=BadResponse,
                message=f"no answer within {self._timeout_s:g} s (execution.request_timeout_s)",
                may_pass=True,
            )
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed meanwhile
            return Problem(
                kind=EngineUnavailable,
                message=f"{self._endpoint.base_url} cannot be reached ({type(error).__name__})",
            )
        text = without_key(response.text, self._key)
        if response.status_code != OK:
            return judge(response.status_code, response.headers, text, key_from=self._endpoint.api_key_env)
        try:
            value = read_body(response.content)
        except ValueError:
            value = None
        if not isinstance(value, dict | list):
            return Problem(kind=BadResponse, message=f"not a JSON object: {text[:200]!r}", may_pass=True)
        return (error_in(value) or value) if isinstance(value, dict) else value

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._key = read_key(self._endpoint, self._model)
            self._client = httpx.AsyncClient(**client_settings(self._endpoint, self._key, self._timeout_s))
        return self._client
