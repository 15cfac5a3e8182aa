"""Taking answers from the request cache into a trial's journal, and giving new ones to it."""

import contextlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

from overnight.engines.identity import answer_identity
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.requests import Request, part_requests
from overnight.planning.trial import Trial
from overnight.spec.execution import Execution
from overnight.store.journal import Journal, Row, finished_ids, is_done, read_rows
from overnight.store.request_cache import RequestCache, origin
from overnight.store.run_folder import RunFolder

_ROWS_AT_ONCE = 500  # one flush to the disk each
_LOOKED_FOR_AT_ONCE = 10_000  # one look through the cache each; memory does not grow with the trial


# How much of the cache was looked through, by the journals of the trials that it was looked through for: in their turn
# only what was written since can be new. A line that was half written then is missed, and its request is sent.
_LOOKED_THROUGH: dict[Path, dict[Path, int]] = {}


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
    model = block.held.model
    settings = answer_identity(model, execution.engine)
    is_wanted = execution.request_cache and not isinstance(
        trial, BestOfKTrial
    )  # whose draws answer no request
    if not is_wanted or settings is None or model.weights_identity is None:
        return None
    return RequestCache(
        model.weights_identity,
        settings,
        run_id=folder.run_id,
        not_of_the_answer=row_fields(trial, block),
    )


def row_fields(trial: Trial, block: ModelBlock) -> dict[str, object]:
    """Return what stands on every row of a trial beside the request and its answer."""
    return {
        "model": block.held.model.name,
        "model_digest": block.held.model.weights_identity,
        "engine": block.held.model.engine.value,
        "quantization": block.held.model.quantization,
        "context_tokens": block.held.context_tokens,
        "trial": trial.slug,
    }


def reuse_in_block(folder: RunFolder, plan: Plan, block: ModelBlock, execution: Execution) -> None:
    """Journal what is known of a block's open trials, so that its model is loaded only for what is left."""
    for trial in block.trials:
        path = folder.trial(trial.slug).journal
        _LOOKED_THROUGH.pop(path, None)
        cache = open_cache(folder, block, trial, execution)
        if cache is None or cache.is_empty():
            continue
        sizes = cache.sizes()
        done = finished_ids(path)
        if len(done) == plan.requests_per_trial[trial.slug]:
            continue
        todo = (
            request
            for part in plan.parts_of(trial)
            for request in part_requests(trial, part, plan.conditions)
            if request.custom_id not in done
        )
        batches = _known_rows(todo, cache, row_fields(trial, block))
        first = next(batches, None)
        if first is None:
            _LOOKED_THROUGH[path] = sizes
            continue
        # A journal that cannot be written to is its trial's failure, and its trial will say so.
        with contextlib.suppress(OSError), KeepingJournal(path, cache) as journal:
            for rows in chain([first], batches):
                journal.append(rows)
            _LOOKED_THROUGH[path] = sizes


def reuse(
    requests: Iterable[Request],
    cache: RequestCache,
    journal: Journal,
    fields: dict[str, object],
) -> set[str]:
    """Journal the answers that are known of some requests; return the custom ids of their draws.

    Args:
        requests: of one trial.
        cache: where answers are looked for.
        journal: of the trial.
        fields: put on every row; ``model_digest`` is needed.
    """
    taken: set[str] = set()
    if not cache.is_empty():
        for rows in _known_rows(requests, cache, fields, _LOOKED_THROUGH.get(journal.path)):
            journal.append(rows)
            taken.update(row["custom_id"] for row in rows)
    return taken


def reuse_of_siblings(folder: RunFolder, plan: Plan, block: ModelBlock, trial: Trial) -> int:
    """Journal what other trials of a block were answered to the same requests, cache or no cache; return how many.

    Only a reply that is read again has to be one and the same in all trials.
    """
    fields = row_fields(trial, block)
    known = {
        row["request_id"]: row
        for other in block.trials
        if other.slug != trial.slug
        for row in read_rows(folder.trial(other.slug).journal)
        if is_done(row) and row["model_digest"] == fields["model_digest"]
    }
    if not known:
        return 0
    path = folder.trial(trial.slug).journal
    done = finished_ids(path)
    rows = [
        _row(request, {"origin": origin(known[name], folder.run_id)} | known[name], fields)
        for part in plan.parts_of(trial)
        for request in part_requests(trial, part, plan.conditions)
        if request.custom_id not in done and (name := _request_id(request, fields)) in known
    ]
    if rows:
        with Journal(path) as journal:
            journal.append(rows)
    return len(rows)


def _known_rows(
    requests: Iterable[Request],
    cache: RequestCache,
    fields: dict[str, object],
    since: dict[Path, int] | None = None,
) -> Iterator[list[Row]]:
    """Yield the rows of those requests whose answers are known, some at a time, in the order of the cache."""
    left = iter(requests)
    while some := list(islice(left, _LOOKED_FOR_AT_ONCE)):
        names = [cache.key(_request_id(request, fields), request.draw) for request in some]
        places = cache.find(names, since)
        known = sorted(
            ((places[name], request) for name, request in zip(names, some, strict=True) if name in places),
            key=lambda pair: pair[0],
        )
        answers = cache.read(place for place, _ in known)
        rows = (
            _row(request, answer, fields)
            for (_, request), answer in zip(known, answers, strict=True)
            if answer is not None
        )
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            yield batch


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
