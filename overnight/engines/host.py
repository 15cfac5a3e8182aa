"""Keeping an engine host alive: started, watched, restarted, and surely gone at the end.

The host is a child process. While it lives, ``<run>/engines/<model>.json`` says where it listens; what it prints
goes to ``<model>.log`` beside it.
"""

import contextlib
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from overnight.engines.deaths import MemoryWatch
from overnight.engines.state import EngineState, write_state
from overnight.errors import EngineCrashed, EngineError, GpuUnusable, OutOfMemory
from overnight.memory.free import free_devices
from overnight.processes import apart, end_child, free_port

_FAILED_LOADS_IN_A_ROW = 3
_LOOK_S = 0.5
# What a host may say in place of serving, by name.
_REFUSALS: Mapping[str, type[EngineError]] = {"OutOfMemory": OutOfMemory, "GpuUnusable": GpuUnusable}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """How a model is to be held by a process of our own."""

    module: (
        str  # run as ``python -m``: reads these settings, prints a line when it serves, ends with its input
    )
    model_path: Path
    slots: int  # requests that are answered at once
    context_tokens: int  # of each slot
    threads: int
    options: Mapping[str, Any]  # what only this engine knows
    startup_timeout_s: float
    memory_limit_bytes: int | None = None  # of the process's own memory
    is_restarted: bool = True  # False: what depends on it fails when it dies


class EngineHost:
    """A supervised host; a context manager at whose end the process is surely gone.

    ``state.loads`` counts how often the weights were read: once, and once more for each time the host died.
    """

    def __init__(self, settings: HostSettings, folder: Path, name: str) -> None:
        self.settings = settings
        self.state_path = folder / f"{name}.json"
        self.log_path = folder / f"{name}.log"
        self._token = secrets.token_urlsafe(24)
        self._state = EngineState(
            status="loading",
            token=self._token,
            slots=settings.slots,
            context_tokens=settings.context_tokens,
        )
        self._process: subprocess.Popen[str] | None = None
        self._log_start = 0  # where the present process began to print
        self._memory: MemoryWatch | None = None
        self._gpus: tuple[str, ...] = ()  # there when it was first loaded; a driver that dies takes none off
        self._watcher: threading.Thread | None = None
        self._leaving = threading.Event()

    @property
    def state(self) -> EngineState:
        """How the host is."""
        return self._state

    def start(self) -> None:
        """Load the model and return when it serves; from then on it is restarted whenever it dies, if it is to be.

        Raises:
            OutOfMemory: it does not fit, or not wholly onto the GPU.
            GpuUnusable: there is a GPU, and it cannot use it; or one was asked for, and there is none.
            EngineCrashed: it died while it loaded, or took too long.
        """
        self.state_path.parent.mkdir(parents=True, exist_ok=True)
        self._gpus = tuple(device.name for device in free_devices())
        self._load()
        self._watcher = threading.Thread(
            target=self._watch, name=f"watch {self.state_path.stem}", daemon=True
        )
        self._watcher.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._end()
        while self._watcher is not None and self._watcher.is_alive():
            self._watcher.join(timeout=_LOOK_S)
            self._end()  # the watcher may have been starting another one
        self.state_path.unlink(missing_ok=True)

    def _end(self) -> None:
        if self._process is not None:
            end_child(self._process)
        if self._memory is not None:
            self._memory.stop()

    def _publish(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        write_state(self.state_path, self._state)

    def _load(self) -> None:
        """Start the process and return when it serves.

        Raises:
            OutOfMemory: it said so.
            GpuUnusable: the same.
            EngineCrashed: it died, or did not serve in time.
        """
        self._publish(status="loading", url=None, urls=(), pid=None)
        command = [sys.executable, "-m", self.settings.module]
        if self._memory is not None:
            self._memory.stop()
        self._memory = MemoryWatch()
        self._memory.start()
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                **apart(),  # Ctrl-C is for us; we end the host when its requests are done
            )
        process = self._process
        assert process.stdin is not None  # noqa: S101 - narrows a type
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # it is dead already; what it printed says why
            process.stdin.write(json.dumps(self._child_settings()) + "\n")
            process.stdin.flush()
        timer = threading.Timer(self.settings.startup_timeout_s, process.kill)
        timer.start()
        line = process.stdout.readline()
        timed_out = not timer.is_alive()
        timer.cancel()
        if not line:
            code = process.wait()
            raise self._load_error(code, timed_out=timed_out)
        ready = json.loads(line)
        if "refused" in ready:
            end_child(process)
            raise _REFUSALS[ready["refused"]](f"{self.settings.model_path.name}: {ready['message']}")
        self._publish(
            status="serving",
            url=ready["url"],
            urls=tuple(ready.get("urls", [ready["url"]])),
            pid=process.pid,
            loads=self._state.loads + 1,
            load_s=ready["load_s"],
            placement=ready.get("placement"),
        )

    def _child_settings(self) -> dict[str, Any]:
        return {
            "model_path": str(self.settings.model_path),
            "port": free_port(),
            "token": self._token,
            "slots": self.settings.slots,
            "context_tokens": self.settings.context_tokens,
            "threads": self.settings.threads,
            "memory_limit_bytes": self.settings.memory_limit_bytes,
            "gpus_there": list(self._gpus),
            "scratch": str(self.state_path.parent.resolve()),
            **self.settings.options,
        }

    def _said(self) -> str:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def _out_of_memory(self, code: int) -> OutOfMemory | None:
        """Return the error of a process that is gone, if it went for want of memory."""
        why = self._memory.why_out_of_memory(code, self._said()) if self._memory else None
        if why is None:
            return None
        return OutOfMemory(
            f"{self.settings.model_path.name} does not fit into memory with {self.settings.slots} slots of "
            f"{self.settings.context_tokens} tokens: {why}; see {self.log_path}"
        )

    def _load_error(self, code: int, *, timed_out: bool) -> EngineError:
        name = self.settings.model_path.name
        if not timed_out and (error := self._out_of_memory(code)):
            return error
        if timed_out:
            return EngineCrashed(
                f"{name} was not loaded within {self.settings.startup_timeout_s:g} s; "
                "raise execution.engine.startup_timeout_s"
            )
        return EngineCrashed(f"{name} could not be loaded: {self._last_words(code)}; see {self.log_path}")

    def _last_words(self, code: int) -> str:
        lines = [line for line in self._said().splitlines() if line.strip()] or [f"exit code {code}"]
        return lines[-1].strip()

    def _watch(self) -> None:
        """Restart the host whenever it dies, until it is told to leave, cannot be loaded any more or is not to be."""
        while True:
            process = self._process
            assert process is not None  # noqa: S101
            process.wait()
            end_child(process)
            if self._leaving.is_set():
                return
            if error := self._out_of_memory(process.returncode):
                self._fail(error)  # the same again would die the same death; a rung below may not
                return
            if not self.settings.is_restarted:
                name, why = self.settings.model_path.name, self._last_words(process.returncode)
                self._fail(EngineCrashed(f"{name}: {why}; see {self.log_path}"))
                return
            for attempt in range(1, _FAILED_LOADS_IN_A_ROW + 1):
                self._publish(restarts=self._state.restarts + 1)
                try:
                    self._load()
                    break
                except EngineError as error:
                    self._end()
                    if self._leaving.is_set():
                        return
                    if attempt == _FAILED_LOADS_IN_A_ROW or isinstance(error, tuple(_REFUSALS.values())):
                        self._fail(error)
                        return
                    time.sleep(attempt)

    def _fail(self, error: EngineError) -> None:
        self._publish(status="failed", error_kind=type(error).__name__, error=str(error))
