"""Quiet while models generate: tables and statistics wait, unless they may take the processor from a model.

Within a run both alternate by themselves, trial by trial. Where several models are held at once, the trials of one
would be scored while another generates; then generation, of which there may be several, keeps calculation out.
"""

import contextlib
import threading
from collections.abc import Iterator


class Quiet:
    """A gate between what shares (generation) and what is alone (calculation); one a process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_generating = 0
        self._n_calculating = 0
        self._n_waiting = 0

    @contextlib.contextmanager
    def generating(self) -> Iterator[None]:
        """Generate while the block runs; first, let those calculate who waited longer: they take seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._n_calculating and not self._n_waiting)
            self._n_generating += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_generating -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def calculating(self, *, may_disturb: bool = False) -> Iterator[None]:
        """Calculate while the block runs, when no model generates and nobody else calculates.

        Args:
            may_disturb: begin at once, whatever else is done.
        """
        if may_disturb:
            yield
            return
        with self._changed:
            self._n_waiting += 1
            try:
                self._changed.wait_for(lambda: not self._n_generating and not self._n_calculating)
                self._n_calculating += 1
            finally:
                self._n_waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._n_calculating -= 1
                self._changed.notify_all()


QUIET = Quiet()
