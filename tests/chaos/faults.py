"""A disk on which a process dies: what it does to files below some folders is counted, and the n-th thing is its last.

From outside, without a hook in what is tested: Python's own audit events tell of every opening, renaming and removal,
and ``os.write``, ``os.fsync`` and the ``write`` of files are wrapped. ``site/sitecustomize.py`` arms a process from its
environment before its first line runs. What compiled libraries write by themselves is not seen; they are only ever
given scratch files.
"""
# ruff: noqa: PTH100, PTH115, PTH117, PTH118 - pathlib would be watched while it helps to watch

import builtins
import io
import json
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import count
from pathlib import Path
from typing import Any

VARIABLE = "OVERNIGHT_CHAOS"
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_RENAMED, _REMOVED = (
    {"os.rename", "os.link", "os.symlink"},
    {"os.remove", "os.rmdir", "os.mkdir", "os.truncate"},
)
_TAKES_NO_ROOM = {"os.remove", "os.rmdir"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to happen in a process."""

    below: tuple[str, ...]  # folders whose files are watched
    at: int | None = None  # number of the operation that is the last one, from 1; None: all are only counted
    is_torn: bool = False  # of a write, half the bytes are written first
    error: int | None = None  # errno that operations fail with from the n-th on, in place of death
    n_errors: int | None = None  # how many fail; None: all that follow
    log: str | None = None  # a line an operation
    process: str = ""  # only processes in whose command line this is found
    n_files: int | None = None  # that may be open at once
    clock_jumps_s: float | None = (
        None  # the clock on the wall goes forward and back by so much, again and again
    )
    once: str | None = None  # a file that says, by being there, that it has happened

    def to_environment(self) -> dict[str, str]:
        """Return what arms a process that has ``site`` on its path."""
        site = str(Path(__file__).parent / "site")
        path = os.pathsep.join(filter(None, [site, os.environ.get("PYTHONPATH")]))
        return {
            VARIABLE: json.dumps({name: getattr(self, name) for name in self.__slots__}),
            "PYTHONPATH": path,
        }


def arm_from_environment() -> None:
    """Arm this process, where its environment says so and means it."""
    if VARIABLE in os.environ:
        value = json.loads(os.environ[VARIABLE])
        order = Order(**{**value, "below": tuple(value["below"])})
        if re.search(order.process, " ".join(sys.orig_argv)):
            Faults(order).arm()


class Faults:
    """Counts what is done to files, and carries out an order."""

    def __init__(self, order: Order) -> None:
        self.n = 0
        self._order = order
        self._below = tuple(os.path.join(os.path.realpath(folder), "") for folder in order.below)
        self._lock = threading.RLock()
        self._log = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if order.log else None
        self._open, self._write, self._fsync = io.open, os.write, os.fsync

    def arm(self) -> None:
        """Watch from now on, for as long as this process lives."""
        if self._order.n_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._order.n_files, self._order.n_files))
        if self._order.clock_jumps_s is not None:
            _let_clock_jump(self._order.clock_jumps_s)
        sys.addaudithook(self._on_event)
        os.write, os.fsync = self._on_os_write, self._on_fsync
        io.open = builtins.open = self._on_open  # type: ignore[assignment]

    def reach(self, what: str, place: str, tear: Callable[[], Any] | None = None) -> None:
        """Count an operation that is about to happen; die, or fail, where it is its turn."""
        with self._lock:
            self.n += 1
            if self._log is not None:
                self._write(self._log, f"{os.getpid()}\t{self.n}\t{what}\t{place}\n".encode())
            at, error = self._order.at, self._order.error
            if at is None or self.n < at:
                return
            if error is not None:
                if self._order.n_errors is None or self.n < at + self._order.n_errors:
                    raise OSError(error, os.strerror(error), place)
            elif self.n == at and self._is_first():
                if self._order.is_torn and tear is not None:
                    tear()
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_first(self) -> bool:
        if self._order.once is None:
            return True
        try:
            os.close(os.open(self._order.once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def place(self, name: Any, folder: Any = None) -> str | None:
        """Return the path of a file that is watched, or None."""
        try:
            if isinstance(name, int):
                path = os.readlink(f"/proc/self/fd/{name}")
            else:
                path = os.fsdecode(name)
                if isinstance(folder, int) and folder >= 0 and not os.path.isabs(path):
                    path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
                path = os.path.abspath(path)
        except (OSError, TypeError):
            return None
        return path if path.startswith(self._below) else None

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
                return
            what, places = "open", [self.place(arguments[0])]
        elif event in _RENAMED:
            # source, destination, then for renames and links the folders of both
            folders: Sequence[Any] = arguments[2:] if len(arguments) > 3 else (None, None)
            what = event
            places = [self.place(name, folder) for name, folder in zip(arguments[:2], folders, strict=False)]
        elif event in _REMOVED and not (self._order.error and event in _TAKES_NO_ROOM):
            what, places = event, [self.place(arguments[0], arguments[-1])]
        else:
            return
        if place := next(filter(None, places), None):
            self.reach(what, place)

    def _on_os_write(self, handle: int, data: Any) -> int:
        if place := self.place(handle):
            self.reach("write", place, lambda: self._write(handle, bytes(data)[: len(data) // 2]))
        return self._write(handle, data)

    def _on_fsync(self, handle: Any) -> None:
        number = handle if isinstance(handle, int) else handle.fileno()
        if place := self.place(number):
            self.reach("fsync", place)
        self._fsync(handle)

    def _on_open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        place = self.place(file) if set(mode) & set("wax+") else None
        if place is None:
            return self._open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _watched_file(self, place)(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedWriter
        buffered = kind(raw, buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE)
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)
        text.mode = mode
        return text


def _watched_file(faults: Faults, place: str) -> type[io.FileIO]:
    class Watched(io.FileIO):
        def write(self, data: Any) -> int:
            faults.reach("write", place, lambda: super(Watched, self).write(bytes(data)[: len(data) // 2]))
            return super().write(data)

    return Watched


def _let_clock_jump(seconds: float) -> None:
    """Have the clock on the wall jump, in all modules that read it by now; the others that time things go on."""
    n_looks, real_time = count(), time.time

    def offset() -> float:
        return (0.0, seconds, -seconds)[next(n_looks) // 7 % 3]

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=offset())

    time.time = lambda: real_time() + offset()
    for module in list(sys.modules.values()):
        if vars(module).get("datetime") is datetime and module.__name__.startswith(
            ("overnight", "flows", "tasks")
        ):
            vars(module)["datetime"] = Jumping
