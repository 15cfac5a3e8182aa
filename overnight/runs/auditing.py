"""The audit of a trial: some of its draws are asked again, alone, and compared with what the journal says.

It reads the journal and writes two files of its own; no count, no cache and no table knows of it.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from overnight.engines.alternatives import ALTERNATIVES
from overnight.engines.protocol import Completion, Engine
from overnight.errors import BadResponse, ContextOverflow
from overnight.invariance.choosing import chosen
from overnight.invariance.parting import judge
from overnight.invariance.record import AuditRecord
from overnight.invariance.tallying import tally
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.requests import Request
from overnight.planning.trial import Trial
from overnight.runs.building import built_requests
from overnight.runs.reusing import row_fields
from overnight.spec.audit import AuditSettings
from overnight.store.files import write_json
from overnight.store.journal import Journal, Row, is_done, read_rows
from overnight.store.run_folder import RunFolder, TrialFolder

State = Literal["complete", "incomplete", "skipped"]
_MOST_FAILURES = 3  # in a row; a time-out each may take the night
_LONGEST_TEXT = 2000  # characters of a second answer that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The audit of one trial."""

    folder: RunFolder
    plan: Plan
    block: ModelBlock
    trial: Trial
    settings: AuditSettings
    confidence: float  # of the intervals

    async def carry_out(self, engine: Engine, should_stop: Callable[[], bool]) -> AuditRecord:
        """Ask the chosen draws that were not asked again yet, one at a time, and write down what came of them.

        Whatever goes wrong ends the audit and not the trial: the record says that it is incomplete, and why.

        Args:
            engine: whom to ask.
            should_stop: looked at before each request.
        """
        names: Sequence[str] = ()
        n_draws = 0
        try:
            names, n_draws = self._chosen()
            why = await self._ask(names, engine, should_stop)
            state: State = "incomplete" if why else "complete"
            return self._written(state, why, names, n_draws)
        except Exception as error:  # noqa: BLE001 - an audit can fail no trial
            return self._written("incomplete", f"{type(error).__name__}: {error}", names, n_draws)

    def skip(self, why: str) -> AuditRecord:
        """Write down that no draw is asked again, and why; what was asked again before stands."""
        try:
            names, n_draws = self._chosen()
            is_there = set(names) <= {name for name, row in self._compared(names).items() if is_done(row)}
        except Exception as error:  # noqa: BLE001 - the same
            return self._written("skipped", f"{why}; {type(error).__name__}: {error}", (), 0)
        state: State = "complete" if names and is_there else "skipped"
        return self._written(state, None if state == "complete" else why, names, n_draws)

    def _chosen(self) -> tuple[list[str], int]:
        return chosen(self._own_draws(), self.settings, self.trial.sampling.seed)

    def _own_draws(self) -> Iterator[str]:
        """Yield the draws that this model answered in this run.

        An answer from the request cache was given beside other neighbours, in the run that asked for it.
        """
        digest = row_fields(self.trial, self.block)["model_digest"]
        for row in read_rows(self._files.journal):
            if is_done(row) and not row.get("cached") and row.get("model_digest") == digest:
                yield row["custom_id"]

    async def _ask(self, names: Sequence[str], engine: Engine, should_stop: Callable[[], bool]) -> str | None:
        """Return why not all were asked; None where all were."""
        done = {name for name, row in self._compared(names).items() if is_done(row)}
        todo = [name for name in names if name not in done]
        if not todo:
            return None
        wanted = set(todo)
        requests = {r.custom_id: r for r in self._requests() if r.custom_id in wanted}
        firsts = self._firsts(wanted)
        n_failed = 0  # in a row
        with Journal(self._files.lone_answers) as journal:
            for number, name in enumerate(todo):
                if should_stop():
                    return f"the run was asked to stop with {len(todo) - number} draws left"
                row = await self._row(requests[name], firsts[name], engine)
                await asyncio.to_thread(journal.append, [row])
                n_failed = 0 if is_done(row) else n_failed + 1
                if n_failed == _MOST_FAILURES:
                    error = row["error"]
                    return f"{n_failed} draws in a row were not answered: {error['kind']}: {error['message']}"
        return None

    async def _row(self, request: Request, first: Row, engine: Engine) -> Row:
        row: Row = {
            "custom_id": request.custom_id,
            "request_id": first["request_id"],
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        try:
            alone = await engine.complete(replace(request, alternatives=ALTERNATIVES))
        except (BadResponse, ContextOverflow) as error:
            return row | {
                "status": "error",
                "error": {"kind": type(error).__name__, "message": str(error)},
            }
        return row | {"status": "ok", **self._comparison(request, first, alone)}

    def _comparison(self, request: Request, first: Row, alone: Completion) -> Row:
        judgement = judge(
            alone,
            first["text"],
            first["finish_reason"],
            temperature=request.temperature,
            stop=request.stop,
            tie_gap=self.settings.tie_gap,
        )
        parting = judgement.parting
        is_same = alone.text == first["text"]
        return {
            "kind": judgement.kind.value,
            "why": judgement.why,
            "parting_step": parting.step if parting else None,
            "gap": parting.gap if parting else None,
            "text_alone": None if is_same else alone.text[:_LONGEST_TEXT],
            "finish_reason": first["finish_reason"],
            "finish_reason_alone": alone.finish_reason.value,
            "mean_logprob": first.get("mean_logprob"),
            "mean_logprob_alone": alone.mean_logprob,
            "prompt_tokens": first.get("prompt_tokens"),
            "prompt_tokens_alone": alone.prompt_tokens,
            "cached_tokens_alone": alone.cached_tokens,
            "counted_tokens": alone.counted_tokens,
        }

    def _compared(self, names: Sequence[str]) -> dict[str, Row]:
        """Return the rows of the second answers to chosen draws, as long as they are about what the journal holds."""
        wanted = set(names)
        last = {
            row["custom_id"]: row for row in read_rows(self._files.lone_answers) if row["custom_id"] in wanted
        }
        firsts = self._firsts(set(last))
        return {
            name: row
            for name, row in last.items()
            if name in firsts and row.get("request_id") == firsts[name]["request_id"]
        }

    def _firsts(self, names: set[str]) -> dict[str, Row]:
        """Return the journal's rows of some draws."""
        rows = read_rows(self._files.journal)
        return {row["custom_id"]: row for row in rows if row["custom_id"] in names and is_done(row)}

    def _requests(self) -> Iterator[Request]:
        return built_requests(self.folder, self.plan, self.trial)

    def _written(self, state: State, why: str | None, names: Sequence[str], n_draws: int) -> AuditRecord:
        record = tally(
            self._compared(names) if names else {},
            state=state,
            why=why,
            n_draws=n_draws,
            n_chosen=len(names),
            confidence=self.confidence,
            tie_gap=self.settings.tie_gap,
        )
        write_json(self._files.audit, record.model_dump(mode="json"))
        return record

    @property
    def _files(self) -> TrialFolder:
        return self.folder.trial(self.trial.slug)
