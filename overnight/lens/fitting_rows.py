"""How many texts fit into memory at a time."""

import logging
from collections.abc import Callable

import torch

from overnight.engines.transformers.memory import is_out_of_memory, release
from overnight.errors import OutOfMemory

_LOG = logging.getLogger(__name__)


class FittingRows:
    """Halves what is done at a time where it does not fit, and remembers what did.

    Args:
        what: is done, for messages.
        device: where.
        forget: gives memory back that is kept for something else.
        most: at a time, whatever fits; None for no limit.
    """

    def __init__(
        self, what: str, device: torch.device, forget: Callable[[], None], most: int | None = None
    ) -> None:
        self._what = what
        self._device = device
        self._forget = forget
        self._most = most
        self.halvings = 0

    def of(self, wanted: int) -> int:
        """Return how many rows to do at a time, where so many are wanted at most."""
        return wanted if self._most is None else min(wanted, self._most)

    def fit(self, n_rows: int, do: Callable[[], None]) -> bool:
        """Do something with some rows; return False where they do not fit: fewer are to be tried then.

        Raises:
            OutOfMemory: it was a single row.
        """
        try:
            do()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
        else:
            return True
        # Only here is nothing left of the frames that held the tensors.
        self._forget()
        release(self._device)
        if n_rows == 1:
            raise OutOfMemory(f"a single text does not fit into memory while it is {self._what} ({reason})")
        self._most = (n_rows + 1) // 2
        self.halvings += 1
        _LOG.warning("%d texts do not fit while they are %s; now %d", n_rows, self._what, self._most)
        return False
