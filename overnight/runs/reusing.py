"""Taking answers from the request cache into a trial's journal, and giving new ones to it."""

import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from overnight.engines.identity import answer_identity
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.requests import Request, part_requests
from overnight.planning.trials import Trial
from overnight.spec.prompt_sweep import Execution
from overnight.store.journal import Journal, Row, finished_ids
from overnight.store.request_cache import RequestCache
from overnight.store.run_folder import RunFolder
from overnight.store.segments import Place

_ROWS_AT_ONCE = 500  # one flush to the disk each


class KeepingJournal(Journal):
    """A journal whose answers are kept for other trials and runs as well, once they are on disk."""

    def __init__(self, path: Path, cache: RequestCache | None) -> None:
        super().__init__(path)
        self._cache = cache

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows and return when they are on disk."""
        rows = list(rows)
        super().append(rows)
        if self._cache is not None:
            self._cache.keep(rows)

    def close(self) -> None:
        """Give the files back."""
        if self._cache is not None:
            self._cache.close()
        super().close()


def open_cache(
    folder: RunFolder, block: ModelBlock, trial: Trial, execution: Execution
) -> RequestCache | None:
    """Return the cache of a block's answers; None where none is wanted, or none may be kept."""
    settings = answer_identity(block.model, execution.engine)
    if not execution.request_cache or settings is None or block.model.sha256 is None:
        return None
    return RequestCache(
        block.model.sha256,
        settings,
        run_id=folder.run_id,
        not_of_the_answer=row_fields(trial, block),
    )


def row_fields(trial: Trial, block: ModelBlock) -> dict[str, object]:
    """Return what stands on every row of a trial beside the request and its answer."""
    return {
        "model": trial.model.name,
        "model_digest": trial.model.sha256,
        "engine": trial.model.engine.value,
        "quantization": trial.model.quantization,
        "context_tokens": block.context_tokens,
        "trial": trial.slug,
    }


def reuse_in_block(folder: RunFolder, plan: Plan, block: ModelBlock, execution: Execution) -> None:
    """Journal what is known of a block's open trials, so that its model is loaded only for what is left."""
    for trial in block.trials:
        cache = open_cache(folder, block, trial, execution)
        if cache is None:
            continue
        path = folder.trial(trial.slug).journal
        done = finished_ids(path)
        if len(done) == plan.requests_per_trial[trial.slug]:
            continue

        def requests(trial: Trial = trial, done: set[str] = done) -> Iterable[Request]:
            for part in plan.parts:
                for request in part_requests(trial, part, plan.conditions):
                    if request.custom_id not in done:
                        yield request

        fields = row_fields(trial, block)
        places = _places(requests(), cache, fields)
        if not places:
            continue
        # A journal that cannot be written to is its trial's failure, and its trial will say so.
        with contextlib.suppress(OSError), KeepingJournal(path, cache) as journal:
            _take(requests(), places, cache, journal, fields)


def reuse(
    requests: Callable[[], Iterable[Request]],
    cache: RequestCache,
    journal: Journal,
    fields: dict[str, object],
) -> set[str]:
    """Journal the answers that are known of some requests; return the custom ids of their draws.

    Args:
        requests: yields them, the same ones each time.
        cache: where answers are looked for.
        journal: of their trial.
        fields: put on every row; ``model_digest`` is needed.
    """
    places = _places(requests(), cache, fields)
    return _take(requests(), places, cache, journal, fields) if places else set()


def _places(requests: Iterable[Request], cache: RequestCache, fields: dict[str, object]) -> dict[str, Place]:
    return cache.find(_key(request, cache, fields) for request in requests)


def _take(
    requests: Iterable[Request],
    places: dict[str, Place],
    cache: RequestCache,
    journal: Journal,
    fields: dict[str, object],
) -> set[str]:
    """Journal, some at a time, the answers of those requests that have a place; return their custom ids."""
    taken: set[str] = set()
    known: list[tuple[Request, Place]] = []
    for request in requests:
        place = places.get(_key(request, cache, fields))
        if place is not None:
            known.append((request, place))
        if len(known) == _ROWS_AT_ONCE:
            taken |= _journalled(known, cache, journal, fields)
            known.clear()
    return taken | _journalled(known, cache, journal, fields)


def _journalled(
    known: list[tuple[Request, Place]], cache: RequestCache, journal: Journal, fields: dict[str, object]
) -> set[str]:
    """Journal the answers of some requests; return the custom ids of those that could be read."""
    in_order = sorted(known, key=lambda pair: pair[1])
    answers = cache.read(place for _, place in in_order)
    rows = [
        _row(request, answer, fields)
        for (request, _), answer in zip(in_order, answers, strict=True)
        if answer is not None
    ]
    if rows:
        journal.append(rows)
    return {row["custom_id"] for row in rows}


def _key(request: Request, cache: RequestCache, fields: dict[str, object]) -> str:
    return cache.key(_request_id(request, fields), request.draw)


def _request_id(request: Request, fields: dict[str, object]) -> str:
    digest = fields["model_digest"]
    return request.digest(None if digest is None else str(digest))[:32]


def _row(request: Request, answer: Row, fields: dict[str, object]) -> Row:
    """Return the journal row of an answer from elsewhere: what was said, and when and where it was said first.

    ``latency_s`` and ``attempt`` are those of this run, which sent nothing; the first ones are in ``origin``.
    """
    return {
        **answer,
        "custom_id": request.custom_id,
        "part": request.part,
        "request_id": _request_id(request, fields),
        "status": "ok",
        "latency_s": None,
        "attempt": 0,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "prompts": request.prompt_digests,
        "error": None,
        "cached": True,
        **fields,
    }
