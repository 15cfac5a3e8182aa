"""Sending requests: as many at once as were asked for, each answer on disk before it counts.

A worker takes all requests of one prompt and sends them one after another, so that the engine evaluates the
prompt once; the workers run side by side. One writer puts what has arrived into the journal, together with
whatever else arrived meanwhile, and only then are the answers counted.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from overnight.engines.kept_tokens import kept_tokens
from overnight.engines.protocol import Completion, Engine
from overnight.errors import (
    BadResponse,
    ContextOverflow,
    EngineCrashed,
    EngineError,
    EngineUnavailable,
    RateLimited,
)
from overnight.planning.requests import Request, same_prompt_groups
from overnight.records import FinishReason
from overnight.store.journal import Journal, Row

_RETRY_DELAY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPolicy:
    """How hard to try."""

    concurrency: int
    attempts_per_item: int
    max_engine_restarts: int  # in a row, without an answer between them


async def dispatch(
    requests: Iterable[Request],
    engine: Engine,
    journal: Journal,
    *,
    policy: DispatchPolicy,
    row_fields: dict[str, Any],
    should_stop: Callable[[], bool],
    on_answered: Callable[[list[Row]], None],
) -> None:
    """Ask every request and journal every answer; return when all are on disk or a stop was asked for.

    A request that keeps failing becomes an error row. After a stop no request is sent any more; those under way
    are waited for.

    Args:
        requests: in the order in which they are best sent; draws of one prompt next to each other.
        engine: whom to ask.
        journal: where rows go.
        policy: concurrency and patience.
        row_fields: put on every row (the model, its digest, the rung, ...); ``model_digest`` is needed.
        should_stop: looked at before each request.
        on_answered: told of rows once they are on disk.

    Raises:
        EngineError: the engine is gone for good; every answer that came before is on disk.
        OSError: the journal cannot be written to.
    """
    groups = same_prompt_groups(requests)
    try:
        await _Dispatch(groups, engine, journal, policy, row_fields, should_stop, on_answered).run()
    except BaseExceptionGroup as failures:
        # The workers fail together; the first one says why.
        raise failures.exceptions[0] from None


class _Dispatch:
    def __init__(
        self,
        groups: Iterator[list[Request]],
        engine: Engine,
        journal: Journal,
        policy: DispatchPolicy,
        row_fields: dict[str, Any],
        should_stop: Callable[[], bool],
        on_answered: Callable[[list[Row]], None],
    ) -> None:
        self._groups = groups
        self._engine = engine
        self._journal = journal
        self._policy = policy
        self._row_fields = row_fields
        self._should_stop = should_stop
        self._on_answered = on_answered
        self._rows: asyncio.Queue[Row | None] = asyncio.Queue(maxsize=4 * policy.concurrency)
        self._suspects = asyncio.Lock()
        self._recovery = asyncio.Lock()
        self._incarnation = 0  # of the engine, as far as we saw
        self._deaths_without_answer = 0

    async def run(self) -> None:
        writer = asyncio.create_task(self._write())
        work = asyncio.create_task(self._work_side_by_side())
        try:
            # The writer ends first only by failing: a full disk stops the workers.
            await asyncio.wait({writer, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            await asyncio.wait({work})
            # The queue may be full, and a writer that fails now would never make room in it.
            last = asyncio.create_task(self._rows.put(None))
            await asyncio.wait({writer, last}, return_when=asyncio.FIRST_COMPLETED)
            if writer.done():
                last.cancel()
            await writer
        work.result()

    async def _work_side_by_side(self) -> None:
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._policy.concurrency):
                workers.create_task(self._work())

    async def _work(self) -> None:
        for group in self._groups:
            for request in group:
                if self._should_stop():
                    return
                await self._rows.put(await self._answer(request))

    async def _answer(self, request: Request) -> Row:
        """Return the row of a request: its answer, or why there is none."""
        error: EngineError = BadResponse("never asked")
        for attempt in range(1, self._policy.attempts_per_item + 1):
            incarnation = self._incarnation
            # A request that was under way when the engine died may be what killed it: it is retried alone, so
            # that it cannot take innocent ones with it again.
            alone = self._suspects if isinstance(error, EngineUnavailable) else contextlib.nullcontext()
            try:
                async with alone:
                    completion = await self._engine.complete(request)
            except EngineUnavailable as unavailable:
                error = unavailable
                await self._recover(incarnation)
            except ContextOverflow as overflow:
                return self._row(request, attempt, error=overflow)  # asking again changes nothing
            except (BadResponse, RateLimited) as bad:
                error = bad
                await asyncio.sleep(_RETRY_DELAY_S * attempt)
            else:
                self._deaths_without_answer = 0
                return self._row(request, attempt, completion=completion)
        return self._row(request, self._policy.attempts_per_item, error=error)

    async def _recover(self, incarnation: int) -> None:
        """Wait for the engine once per death, however many requests noticed it."""
        async with self._recovery:
            if self._incarnation != incarnation:
                return
            self._deaths_without_answer += 1
            if self._deaths_without_answer > self._policy.max_engine_restarts:
                raise EngineCrashed(
                    f"the engine died {self._deaths_without_answer} times without an answer in between; "
                    "see the log in engines/ of the run folder"
                )
            await self._engine.recover()
            self._incarnation += 1

    async def _write(self) -> None:
        """Append what has arrived, all of it at once; a slow disk makes larger batches, not a slower engine."""
        last = False
        while not last:
            rows = [await self._rows.get()]
            while not self._rows.empty():
                rows.append(self._rows.get_nowait())
            last = rows[-1] is None
            batch = [row for row in rows if row is not None]
            if batch:
                await asyncio.to_thread(self._journal.append, batch)
                self._on_answered(batch)

    def _row(
        self,
        request: Request,
        attempt: int,
        *,
        completion: Completion | None = None,
        error: EngineError | None = None,
    ) -> Row:
        row = {
            "custom_id": request.custom_id,
            "part": request.part,
            "request_id": request.digest(self._row_fields["model_digest"])[:32],
            "status": "ok" if completion else "error",
            "finish_reason": completion.finish_reason.value if completion else FinishReason.ERROR.value,
            "text": completion.text if completion else None,
            "prompt_tokens": completion.prompt_tokens if completion else None,
            "cached_tokens": completion.cached_tokens if completion else None,
            "completion_tokens": completion.completion_tokens if completion else None,
            "mean_logprob": completion.mean_logprob if completion else None,
            "latency_s": round(completion.latency_s, 4) if completion else None,
            "prefill_s": completion.prefill_s if completion else None,
            "decode_s": completion.decode_s if completion else None,
            "attempt": attempt,
            "at": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
            "sent": completion.sent if completion else None,
            "prompts": request.prompt_digests,
            **({"tokens": kept_tokens(completion)} if request.tokens and completion else {}),
            "error": {"kind": type(error).__name__, "message": str(error)} if error else None,
        }
        return row | self._row_fields
