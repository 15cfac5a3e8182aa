"""Asking a judge of the greedy answers of a trial; what it said is kept a line an item."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.engines.protocol import Engine
from overnight.errors import BadResponse, ContextOverflow, StoreError, UndefinedMetricError
from overnight.planning.plan import Plan
from overnight.planning.uncertainty_trials import UncertaintyTrial
from overnight.records import Item
from overnight.runs.answers import item_answers
from overnight.runs.side_rows import read_side_rows, write_side_rows
from overnight.store.run_folder import TrialFolder
from overnight.uncertainty.judge_requests import judge_request, read_reply
from overnight.uncertainty.judging import Judgement

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """The answers of a trial that a judge can compare with gold answers, and what it said of some already."""

    asked: tuple[tuple[Item, str], ...]  # in the order of the plan
    known: dict[str, _Row]  # by the item's key; of these answers, by this judge; errors are none

    @property
    def new(self) -> list[tuple[Item, str]]:
        """What the judge has not seen."""
        return [(item, answer) for item, answer in self.asked if item.key not in self.known]


def judging_of(folder: TrialFolder, plan: Plan, trial: UncertaintyTrial, judge: str) -> Judging:
    """Return what there is to be judged; an item without an answer or without a gold answer is not.

    Args:
        folder: of the trial.
        plan: of the run.
        trial: whose answers are judged.
        judge: as it stands in the results.
    """
    asked = tuple(
        (each.item, each.greedy.text)
        for each in item_answers(folder, plan, trial)
        if each.greedy.text is not None and each.item.answers
    )
    answers = {item.key: answer for item, answer in asked}
    known = {
        key: row
        for key, row in read_side_rows(folder.judgements).items()
        if row["source"] == judge and row["answer"] == answers.get(key) and not row.get("error")
    }
    return Judging(asked=asked, known=known)


async def write_judgements(
    folder: TrialFolder, judging: Judging, engine: Engine, *, judge: str, seed: int, at_once: int
) -> int:
    """Write ``judgements.jsonl``; what the judge knows already is not shown to it again.

    An item without a reply has the error that came instead in its row, and is asked again another time.

    Args:
        folder: of the trial.
        judging: of its answers.
        engine: that holds the judge.
        judge: as it stands in the results.
        seed: of the run.
        at_once: requests under way at a time.

    Returns:
        The number of items that have a reply.

    Raises:
        EngineError: the judge is gone.
    """
    found = await _judge(judging.new, engine, judge, seed, at_once)
    rows = judging.known | {row["item_key"]: row for row in found}
    write_side_rows(folder.judgements, (rows[item.key] for item, _ in judging.asked))
    return sum(not row.get("error") for row in rows.values())


def read_judgements(path: Path) -> dict[str, Judgement]:
    """Return what a judge said of the answers of a trial, by the item's key; nothing where none was asked.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        return {
            key: Judgement(
                yes_logprob=row["yes_logprob"],
                no_logprob=row["no_logprob"],
                judge=row["source"],
                error=row.get("error"),
            )
            for key, row in read_side_rows(path).items()
        }
    except KeyError as missing:
        raise StoreError(f"{path}: a row without {missing}; judge the trial again") from None


async def _judge(
    asked: Sequence[tuple[Item, str]], engine: Engine, judge: str, seed: int, at_once: int
) -> list[_Row]:
    turns = asyncio.Semaphore(at_once)

    async def one(item: Item, answer: str) -> _Row:
        async with turns:
            try:
                said = read_reply(await engine.complete(judge_request(item, answer, seed=seed)), judge)
            except (BadResponse, ContextOverflow, UndefinedMetricError) as error:
                what = f"{type(error).__name__}: {' '.join(str(error).split())}"
                said = Judgement(yes_logprob=None, no_logprob=None, judge=judge, error=what)
        return {
            "item_key": item.key,
            "source": judge,
            "answer": answer,
            "yes_logprob": said.yes_logprob,
            "no_logprob": said.no_logprob,
            "error": said.error,
        }

    return list(await asyncio.gather(*(one(*each) for each in asked)))
