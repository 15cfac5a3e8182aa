"""Ctrl-C and SIGTERM ask the run to stop, once; asked twice they end it at once."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from overnight.store.run_folder import RunFolder


@contextlib.contextmanager
def stop_on_signals(folder: RunFolder) -> Iterator[None]:
    """Turn signals into a stop request while the block runs.

    The first lets the requests under way finish; the second interrupts, which loses those and nothing else.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        folder.stop_request.touch()
        sys.stderr.write("\nstopping: requests under way are finished; once more to stop at once\n")

    before = {number: signal.signal(number, ask) for number in _asking()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _asking() -> tuple[signal.Signals, ...]:
    if sys.platform == "win32":  # Ctrl-Break is the only one that another process can send there
        return signal.SIGINT, signal.SIGTERM, signal.SIGBREAK
    return signal.SIGINT, signal.SIGTERM
