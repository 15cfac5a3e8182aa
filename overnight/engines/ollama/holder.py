"""Holding a model on an Ollama server: loaded for us and as we want it, and surely unloaded at the end."""

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from ollama import ProcessResponse

from overnight.engines.ollama.asking import load_body
from overnight.engines.ollama.connection import Server
from overnight.engines.ollama.failures import understood
from overnight.engines.ollama.placement import placement_of, require_gpu
from overnight.engines.ollama.server import (
    OLDEST,
    address,
    bare_digest,
    client_options,
    is_same,
    shown,
    tag_of,
)
from overnight.engines.state import EngineState, write_state
from overnight.errors import (
    BadResponse,
    ContextOverflow,
    EngineError,
    EngineUnavailable,
    ModelNotFound,
    OutOfMemory,
)
from overnight.spec.execution import EngineSettings
from overnight.spec.model import ModelSpec

_LOG = logging.getLogger(__name__)
_POLL_S = 0.2
_UNLOADED_WITHIN_S = 30.0
_SAY_EVERY_S = 5.0

Loaded = ProcessResponse.Model


class OllamaHolder:
    """A model that an Ollama server holds for us; at the end of the block it is unloaded, and no other one is.

    ``state.loads`` is 0 where the server had it loaded already, with the context that we want.
    """

    def __init__(
        self, model: ModelSpec, settings: EngineSettings, context_tokens: int, slots: int, folder: Path
    ) -> None:
        self.state_path = folder / f"{model.name}.json"
        self._tag = tag_of(model.source)
        self._digest = model.sha256
        self._settings = settings
        self._host = address(settings.ollama)
        self._state = EngineState(
            status="loading", url=shown(self._host), slots=slots, context_tokens=context_tokens
        )
        timeout = httpx.Timeout(settings.startup_timeout_s, connect=10)
        self._client = Server(**client_options(self._host, timeout))
        self._is_ours = False

    @property
    def state(self) -> EngineState:
        """How the model is held."""
        return self._state

    def start(self) -> None:
        """Have the server load the model, and return when it lists it as we want it.

        Raises:
            EngineUnavailable: there is no server.
            ModelNotFound: it does not have the model, or another one under its name.
            OutOfMemory: the model does not fit, or a part of it lies outside the GPU.
            GpuUnusable: layers on a GPU were asked for, and there is none.
            ContextOverflow: it was loaded with less context than was asked for.
            BadResponse: the server is too old, or did not load the model in time.
        """
        self.state_path.parent.mkdir(parents=True, exist_ok=True)
        self._publish(status="loading")
        try:
            self._start()
        except EngineError as error:
            self._publish(status="failed", error_kind=type(error).__name__, error=str(error))
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._is_ours:
                self._unload()
        finally:
            self.state_path.unlink(missing_ok=True)
            self._client.close()  # type: ignore[no-untyped-call]

    def _start(self) -> None:
        with self._understood():
            version = self._client.version()
        if not version.is_supported:
            raise BadResponse(
                f"Ollama {version} at {shown(self._host)} is too old, {'.'.join(map(str, OLDEST))} or later is wanted"
            )
        self._require_model()
        before = self._loaded()
        started = time.monotonic()
        self._is_ours = True
        try:
            with self._understood(is_loading=True):
                self._client.answer(load_body(self._tag, self._settings, self._state.context_tokens))
        except OutOfMemory as error:
            raise OutOfMemory(f"{error}{self._beside()}") from None
        load_s = round(time.monotonic() - started, 3)
        loaded = self._require_loaded()
        was_there = before is not None and before.context_length == loaded.context_length
        self._publish(
            status="serving",
            loads=0 if was_there else 1,
            load_s=load_s,
            placement=placement_of(loaded).as_row(),
        )
        _LOG.info(
            "%s: Ollama %s holds it with %s tokens of context, %s bytes, %s of them on the GPU",
            self._tag,
            version,
            loaded.context_length,
            loaded.size,
            loaded.size_vram,
        )

    def _require_model(self) -> None:
        """Return when the server has the model that the plan was made with.

        Raises:
            ModelNotFound: it has not.
        """
        found = self._digest_there()
        if found is None and self._settings.ollama.pull:
            self._pull()
            found = self._digest_there()
        if found is None:
            raise ModelNotFound(
                f"Ollama at {shown(self._host)} has no model {self._tag}; get it with: ollama pull {self._tag}"
            )
        if self._digest not in (None, found):
            raise ModelNotFound(
                f"{self._tag} on {shown(self._host)} has digest {found}, the run was planned with {self._digest}: "
                "the tag was pulled or made anew; plan a new run, or bring the old one back"
            )

    def _digest_there(self) -> str | None:
        with self._understood():
            models = self._client.list().models
        return next((bare_digest(each.digest) for each in models if is_same(each.model, self._tag)), None)

    def _pull(self) -> None:
        """Download the model, saying how far it is every few seconds."""
        said = 0.0
        with self._understood():
            for step in self._client.pull(self._tag, stream=True):
                if time.monotonic() - said < _SAY_EVERY_S:
                    continue
                said = time.monotonic()
                share = f" {100 * (step.completed or 0) / step.total:.0f} %" if step.total else ""
                _LOG.info("ollama pull %s: %s%s", self._tag, step.status, share)

    def _require_loaded(self) -> Loaded:
        """Return how the server lists the model that it has just loaded.

        Raises:
            ModelNotFound: it does not list it, or another one under its name.
            ContextOverflow: it gave it less context.
            OutOfMemory: it did not put all of it onto the GPU.
        """
        loaded = self._loaded()
        if loaded is None:
            raise ModelNotFound(
                f"{self._tag} was loaded, but {shown(self._host)} does not list it in /api/ps; "
                "a model of Ollama's cloud is not held here"
            )
        if self._digest not in (None, bare_digest(loaded.digest)):
            raise ModelNotFound(
                f"{self._tag} is loaded with digest {loaded.digest}, planned was {self._digest}"
            )
        wanted = self._state.context_tokens
        if loaded.context_length is not None and loaded.context_length < wanted:
            raise ContextOverflow(
                f"{self._tag} was loaded with {loaded.context_length} tokens of context, {wanted} are wanted; "
                "lower execution.engine.context_tokens or take a model with a longer context"
            )
        require_gpu(loaded, self._all_loaded(), self._host, self._settings)
        return loaded

    def _loaded(self) -> Loaded | None:
        return next((each for each in self._all_loaded() if is_same(each.model, self._tag)), None)

    def _all_loaded(self) -> Sequence[Loaded]:
        with self._understood():
            return self._client.ps().models

    def _beside(self) -> str:
        """Return what else the server holds, for a message about its memory."""
        try:
            loaded = self._all_loaded()
        except EngineError:
            return ""
        others = [
            f"{each.model} ({(each.size or 0) / 2**30:.1f} GiB)"
            for each in loaded
            if not is_same(each.model, self._tag)
        ]
        return f"; it also holds {', '.join(others)}" if others else ""

    def _warn_if_moved(self) -> None:
        """Say so where the server has loaded the model again since, with less of it on the GPU."""
        loaded = self._loaded()
        if loaded is None or self._state.status != "serving":
            return
        try:
            require_gpu(loaded, self._all_loaded(), self._host, self._settings)
        except OutOfMemory as error:
            _LOG.warning("in the course of the run Ollama moved a part of the model: %s", error)

    def _unload(self) -> None:
        """Have the server let go of the model, and return when it no longer lists it.

        A server that does not is a warning: what was answered is on disk, and the next model finds out whether it
        fits beside this one.
        """
        body = {"model": self._tag, "messages": [], "stream": False, "keep_alive": 0}
        deadline = time.monotonic() + _UNLOADED_WITHIN_S
        try:
            self._warn_if_moved()
            with self._understood():
                self._client.answer(body)
            while (left := self._loaded()) is not None:
                if time.monotonic() > deadline:
                    _LOG.warning(
                        "%s: Ollama still holds it %g s after it was to unload it (%s bytes)",
                        self._tag,
                        _UNLOADED_WITHIN_S,
                        left.size,
                    )
                    return
                time.sleep(_POLL_S)
        except EngineUnavailable:
            return  # the memory went with the server
        except EngineError as error:
            _LOG.warning("%s: Ollama does not say that it unloaded it: %s", self._tag, error)

    def _publish(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        write_state(self.state_path, self._state)

    def _understood(self, *, is_loading: bool = False) -> AbstractContextManager[None]:
        return understood(
            self._host,
            self._tag,
            is_loading=is_loading,
            timeout_s=self._settings.startup_timeout_s,
            timeout_key="execution.engine.startup_timeout_s",
        )
