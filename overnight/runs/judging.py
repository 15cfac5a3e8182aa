"""Asking a judge of the greedy answers of a trial; what it said is kept a line an item."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from overnight.engines.protocol import Engine
from overnight.errors import BadResponse, ContextOverflow, UndefinedMetricError
from overnight.planning.plan import Plan
from overnight.planning.uncertainty_trials import UncertaintyTrial
from overnight.records import Item
from overnight.runs.answers import item_answers
from overnight.runs.side_rows import read_side_rows, write_side_rows
from overnight.store.run_folder import TrialFolder
from overnight.uncertainty.judge_requests import judge_request, read_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    item: Item
    answer: str


async def write_judgements(
    folder: TrialFolder, plan: Plan, trial: UncertaintyTrial, engine: Engine, *, judge: str, at_once: int
) -> int:
    """Write ``judgements.jsonl``; answers that this judge knows already are not shown to it again.

    An item that the judge gives no verdict on, or that has no gold answer, has no row.

    Args:
        folder: of the trial.
        plan: of the run.
        trial: whose answers are judged.
        engine: that holds the judge.
        judge: as it stands in the results.
        at_once: requests under way at a time.

    Returns:
        The number of items that were judged.

    Raises:
        EngineError: the judge is gone.
    """
    known = {key: row for key, row in read_side_rows(folder.judgements).items() if row["source"] == judge}
    asked = [
        _Asked(item=each.item, answer=each.greedy.text)
        for each in item_answers(folder, plan, trial)
        if each.greedy.text is not None and each.item.answers
    ]
    new = [each for each in asked if known.get(each.item.key, {}).get("answer") != each.answer]
    found = await _judge(new, engine, judge, trial.sampling.seed, at_once)
    rows = known | {row["item_key"]: row for row in found}
    return write_side_rows(folder.judgements, (rows[e.item.key] for e in asked if e.item.key in rows))


async def _judge(
    asked: Sequence[_Asked], engine: Engine, judge: str, seed: int, at_once: int
) -> list[dict[str, object]]:
    turns = asyncio.Semaphore(at_once)

    async def one(each: _Asked) -> dict[str, object] | None:
        async with turns:
            try:
                said = read_reply(
                    await engine.complete(judge_request(each.item, each.answer, seed=seed)), judge
                )
            except (BadResponse, ContextOverflow, UndefinedMetricError):
                return None
        return {
            "item_key": each.item.key,
            "source": judge,
            "answer": each.answer,
            "yes_logprob": said.yes_logprob,
            "no_logprob": said.no_logprob,
        }

    return [row for row in await asyncio.gather(*map(one, asked)) if row is not None]
