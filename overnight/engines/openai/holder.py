"""A model that somebody else holds: nothing is loaded here, and nothing given back."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from overnight.engines.answer_values import read_body
from overnight.engines.openai.access import beside, client_settings, read_key
from overnight.engines.openai.dialects import FACTS
from overnight.engines.openai.problems import OK, Problem, judge, without_key
from overnight.engines.openai.replies import not_served, served_context, served_models
from overnight.engines.state import EngineState, write_state
from overnight.errors import BadResponse, EngineUnavailable, ModelNotFound
from overnight.spec.engine_openai import Endpoint
from overnight.spec.model import ModelSpec

_NOT_FOUND = 404
_LOOK_S = 1.0
_PATIENCE_S = 30.0  # of one look


class ServedElsewhere:
    """The server of a model, looked at once; its state file says where it is, and never what its key is."""

    def __init__(self, model: ModelSpec, folder: Path, *, slots: int, startup_timeout_s: float) -> None:
        """Prepare to look.

        Args:
            model: with its endpoint.
            folder: where the state file goes.
            slots: requests that are going to be under way at a time.
            startup_timeout_s: how long a server may say that it is still loading.
        """
        if model.endpoint is None:
            raise TypeError(f"model {model.name} has no endpoint")
        self._endpoint: Endpoint = model.endpoint
        self._model = model
        self._startup_timeout_s = startup_timeout_s
        self.state_path = folder / f"{model.name}.json"
        self._state = EngineState(status="loading", slots=slots)

    @property
    def state(self) -> EngineState:
        """How the engine is."""
        return self._state

    def start(self) -> None:
        """Return when the server answers, takes the key and has the model.

        Raises:
            UsageError: the key's environment variable is not set.
            EngineUnavailable: nobody answers there, or the model is not loaded in time.
            EngineRefused: the key is not accepted.
            ModelNotFound: the server has other models.
        """
        key = read_key(self._endpoint, self._model.name)
        started = time.monotonic()
        with httpx.Client(**client_settings(self._endpoint, key, _PATIENCE_S)) as client:
            models = served_models(self._listed(client, key))
            entry = models.get(self._model.served_name)
            facts = FACTS[self._endpoint.dialect]
            if entry is None and (facts.lists_every_model or not models):
                raise ModelNotFound(
                    not_served(self._model.served_name, list(models), self._endpoint.base_url)
                )
            context = served_context(facts, entry or {}, self._properties(client))
        self._state = EngineState(
            status="serving",
            url=self._endpoint.base_url,
            slots=self._state.slots,
            context_tokens=context or self._model.context_tokens,
            load_s=round(time.monotonic() - started, 3),
        )
        self.state_path.parent.mkdir(parents=True, exist_ok=True)
        write_state(self.state_path, self._state)

    def __enter__(self) -> Self:
        """Return itself; nothing is looked at yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the state file away."""
        self.state_path.unlink(missing_ok=True)

    def _listed(self, client: httpx.Client, key: str | None) -> Any:
        """Return what ``/v1/models`` says, waiting for a server that is still loading."""
        deadline = time.monotonic() + self._startup_timeout_s
        while True:
            found = self._look(client, key)
            if not isinstance(found, Problem):
                return found
            if not found.may_pass or time.monotonic() + _LOOK_S > deadline:
                raise found.error()
            time.sleep(_LOOK_S)

    def _look(self, client: httpx.Client, key: str | None) -> Mapping[str, Any] | Problem:
        url = f"{self._endpoint.base_url}/models"
        try:
            response = client.get(url)
        except httpx.HTTPError as error:
            raise EngineUnavailable(
                f"nobody answers at {self._endpoint.base_url} ({type(error).__name__}); start the server, or "
                f"correct endpoint.base_url of model {self._model.name}"
            ) from None
        text = without_key(response.text, key)
        if response.status_code == _NOT_FOUND:
            return Problem(kind=BadResponse, message=f"{url} answers 404; does base_url end with /v1?")
        if response.status_code != OK:
            return judge(response.status_code, response.headers, text, key_from=self._endpoint.api_key_env)
        try:
            value = read_body(response.content)
        except ValueError:
            value = None
        if not isinstance(value, dict | list):
            message = (
                f"{url} answers with {text[:60]!r}, wanted a list of models; does base_url end with /v1?"
            )
            return Problem(kind=BadResponse, message=message)
        return value if isinstance(value, dict) else {"data": value}

    def _properties(self, client: httpx.Client) -> Any:
        """Return what the server says of itself beside its models, None where it does not."""
        path = FACTS[self._endpoint.dialect].properties_path
        if path is None:
            return None
        try:
            response = client.get(beside(self._endpoint, path))
            return read_body(response.content) if response.status_code == OK else None
        except (httpx.HTTPError, ValueError):
            return None
