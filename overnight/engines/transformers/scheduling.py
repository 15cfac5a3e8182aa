"""Requests that wait, and the one thread that computes them batch by batch."""

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from overnight.engines.transformers.batching import Size, choose_batch, halves, padded_tokens
from overnight.engines.transformers.decoding import Answer, Decoder, Job
from overnight.engines.transformers.memory import is_out_of_memory, release
from overnight.errors import BadResponse, OutOfMemory, OvernightError

_LOG = logging.getLogger(__name__)
_LULL_S = 0.005  # requests that are sent together arrive closer to each other than this
_LONGEST_LULL_S = 0.05


@dataclass(slots=True)
class Waiting:
    """A request under way."""

    job: Job
    answer: "Future[Answer]" = field(default_factory=Future)
    is_wanted: bool = True  # whoever asked is still there

    @property
    def size(self) -> Size:
        """How long it is."""
        return Size(len(self.job.prompt), self.job.max_new_tokens)


@dataclass(slots=True)
class Errand:
    """Something else that is done with the model, between two batches."""

    do: Callable[[Callable[[], bool]], Any]  # is given what says whether anybody still waits for it
    result: "Future[Any]" = field(default_factory=Future)
    is_wanted: bool = True  # whoever asked is still there


class Scheduler:
    """Computes what is submitted.

    Args:
        decoder: what computes.
        device: of the decoder.
        budget: most tokens of a batch; it shrinks when a batch does not fit.
        most_rows: None for as many as the budget allows.
    """

    def __init__(self, decoder: Decoder, device: Any, budget: int, most_rows: int | None = None) -> None:
        self._decoder = decoder
        self._device = device
        self._budget = budget
        self.most_rows = most_rows
        self._waiting: list[Waiting] = []
        self._errands: deque[Errand] = deque()
        self._arrived = threading.Condition()
        self._n_batches = self._n_rows = self._n_halvings = self._largest = 0

    def submit(self, job: Job) -> Waiting:
        """Have a job answered; what it came to arrives in ``answer``: an `Answer` or an `EngineError`."""
        waiting = Waiting(job)
        with self._arrived:
            self._waiting.append(waiting)
            self._arrived.notify()
        return waiting

    def send(self, do: Callable[[Callable[[], bool]], Any]) -> Errand:
        """Have something else done with the model, never beside a batch; what it returns arrives in ``result``.

        So does an `OvernightError` that it raises. Requests and errands take turns.
        """
        errand = Errand(do)
        with self._arrived:
            self._errands.append(errand)
            self._arrived.notify()
        return errand

    @property
    def budget(self) -> int:
        """Most tokens of a batch, as far as is known by now."""
        return self._budget

    def counts(self) -> dict[str, int]:
        """Return what was computed so far, and how often a batch did not fit."""
        return {
            "batch_tokens": self._budget,
            "batches": self._n_batches,
            "rows": self._n_rows,
            "largest_batch": self._largest,
            "halvings": self._n_halvings,
            "waiting": len(self._waiting),
        }

    def run_forever(self) -> None:
        """Compute batch after batch; an error that is not about memory ends the process, which is started again.

        After such an error nobody knows what state the device is in.
        """
        try:
            while True:
                self.compute(self._next_batch())
                self._run_errand()
        except Exception:  # noqa: BLE001 - it is logged, and nothing goes on after it
            _LOG.exception("the batch could not be computed")
            logging.shutdown()
            os._exit(1)

    def _run_errand(self) -> None:
        with self._arrived:
            errand = self._errands.popleft() if self._errands else None
        if errand is None or not errand.is_wanted:
            return
        try:
            errand.result.set_result(errand.do(lambda: errand.is_wanted))
        except OvernightError as error:
            errand.result.set_exception(error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            errand.result.set_exception(OutOfMemory(_first_line(error)))

    def compute(self, batch: Sequence[Waiting]) -> None:
        """Answer a batch; one that does not fit is halved until it does, or until a single row does not."""
        if not batch:
            return
        reason = self._tried(batch)
        if reason is None:
            return
        # Only here is nothing left of the frames that held the tensors.
        self._decoder.forget()
        release(self._device)
        left = [waiting for waiting in batch if waiting.is_wanted and not waiting.answer.done()]
        if len(batch) == 1:
            for waiting in left:
                waiting.answer.set_exception(_unfit(waiting, reason))
            return
        self._n_halvings += 1
        parts = [[left[place] for place in half] for half in halves(range(len(left)))]
        if parts[0]:
            self._budget = min(self._budget, padded_tokens([waiting.size for waiting in parts[0]]))
        # Without the allocator's words: what the host said last tells why it died, and this it survived.
        _LOG.warning("%d rows do not fit; halved, from now on at most %d tokens", len(batch), self._budget)
        for part in parts:
            self.compute(part)

    def _tried(self, batch: Sequence[Waiting]) -> str | None:
        """Answer a batch; return why it does not fit where it does not."""
        self._n_batches += 1
        self._n_rows += len(batch)
        self._largest = max(self._largest, len(batch))
        try:
            self._decoder.run(
                [waiting.job for waiting in batch],
                lambda place, answer: _deliver(batch[place], answer),
                lambda place: batch[place].is_wanted,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return _first_line(error)
        return None

    def _next_batch(self) -> list[Waiting]:
        with self._arrived:
            self._arrived.wait_for(lambda: self._waiting or self._errands)
            if not self._waiting:
                return []
            self._wait_for_a_lull()
            self._waiting = [waiting for waiting in self._waiting if waiting.is_wanted]
            sizes = [waiting.size for waiting in self._waiting]
            chosen = choose_batch(sizes, self._budget, self.most_rows)
            batch = [self._waiting[place] for place in chosen]
            taken = set(chosen)
            self._waiting = [w for place, w in enumerate(self._waiting) if place not in taken]
        return batch

    def _wait_for_a_lull(self) -> None:
        """Return when nothing arrives any more: the first of many requests would be computed alone."""
        deadline = time.monotonic() + _LONGEST_LULL_S
        while self._arrived.wait(_LULL_S) and time.monotonic() < deadline:
            pass


def _deliver(waiting: Waiting, answer: Answer) -> None:
    if all(map(math.isfinite, answer.token_logprobs)):
        waiting.answer.set_result(answer)
    else:
        waiting.answer.set_exception(
            BadResponse(
                "the model's logits are not numbers; a dtype of more range (bfloat16, float32) may help"
            )
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _unfit(waiting: Waiting, reason: str) -> OutOfMemory:
    return OutOfMemory(
        f"a single prompt of {waiting.size.prompt} tokens with an answer of up to {waiting.size.answer} does not "
        f"fit into memory ({reason})"
    )
