"""All checks at once, each guarded by itself: one that fails or hangs costs its own line and nothing else."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from overnight.diagnosis.machine.check import Check, Checker, Surroundings, note

LIMIT_S = 6.5  # for all of them together, since they run side by side

T = TypeVar("T")


def check_machine(
    around: Surroundings, checkers: Mapping[str, Checker], limit_s: float = LIMIT_S
) -> list[Check]:
    """Return what came of all checks, in their order; never fails, and never takes longer than the limit.

    Args:
        around: where to look.
        checkers: by name.
        limit_s: seconds after which a check that has not answered is left behind.
    """
    results: dict[str, list[Check]] = {}

    def work(name: str, checker: Checker) -> None:
        try:
            results[name] = checker(around)
        except Exception as error:  # noqa: BLE001 - whatever a driver or a library comes up with
            results[name] = [note(name, f"could not be looked at ({type(error).__name__}: {error})")]

    threads = {name: _start(name, lambda n=name, c=checker: work(n, c)) for name, checker in checkers.items()}  # type: ignore[misc]
    deadline = time.monotonic() + limit_s
    for thread in threads.values():
        thread.join(timeout=max(0.0, deadline - time.monotonic()))
    late = {name: [note(name, f"did not answer within {limit_s:g} s")] for name in threads}
    done = dict(results)  # those that are left behind may still write
    return [check for name in threads for check in done.get(name, late[name])]


def within(seconds: float, call: Callable[[], T]) -> T | None:
    """Return what a call returns; None where it takes longer, and it goes on by itself then.

    Raises:
        Exception: whatever the call raises in time.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - raised again, in the thread that asked
            errors.append(error)

    _start("within", work).join(timeout=seconds)
    if errors:
        raise errors[0]
    return results[0] if results else None


def _start(name: str, work: Callable[[], None]) -> threading.Thread:
    # A daemon: a driver that hangs cannot keep the command from ending.
    thread = threading.Thread(target=work, name=f"check {name}", daemon=True)
    thread.start()
    return thread
