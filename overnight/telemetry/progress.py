"""How far the trials of this process are; written by whoever generates, read by whoever shows."""

import threading
import time
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialProgress:
    """One trial at one moment."""

    slug: str
    n_expected: int
    n_done: int
    n_errors: int = 0
    n_before: int = 0  # done in an earlier stretch; no part of the rate
    completion_tokens: int = 0
    started_s: float  # on the monotonic clock
    ended_s: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds of generating so far."""
        return (self.ended_s or time.monotonic()) - self.started_s


class ProgressBoard:
    """The trials of one process, safe to read from another thread."""

    def __init__(self) -> None:
        self._trials: dict[str, TrialProgress] = {}
        self._notice: str | None = None
        self._lock = threading.Lock()

    def start(self, slug: str, *, n_expected: int, n_done: int) -> None:
        """Put a trial on the board."""
        with self._lock:
            self._trials[slug] = TrialProgress(
                slug=slug,
                n_expected=n_expected,
                n_done=n_done,
                n_before=n_done,
                started_s=time.monotonic(),
            )

    def add(self, slug: str, *, n_done: int, n_errors: int, completion_tokens: int) -> None:
        """Count what is on disk now."""
        with self._lock:
            old = self._trials[slug]
            self._trials[slug] = replace(
                old,
                n_done=old.n_done + n_done,
                n_errors=old.n_errors + n_errors,
                completion_tokens=old.completion_tokens + completion_tokens,
            )

    def end(self, slug: str) -> None:
        """Stop a trial's clock."""
        with self._lock:
            self._trials[slug] = replace(self._trials[slug], ended_s=time.monotonic())

    def snapshot(self) -> tuple[TrialProgress, ...]:
        """Return all trials, in the order in which they were started."""
        with self._lock:
            return tuple(self._trials.values())

    def say(self, notice: str | None) -> None:
        """Put up what the run is waiting for; None takes it down."""
        with self._lock:
            self._notice = notice

    @property
    def notice(self) -> str | None:
        """What the run is waiting for, if anything."""
        with self._lock:
            return self._notice

    def clear(self) -> None:
        """Forget everything: another run begins."""
        with self._lock:
            self._trials.clear()
            self._notice = None


BOARD = ProgressBoard()  # of this process
