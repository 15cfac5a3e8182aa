"""A judge is asked of every answer once, and again only of what it has not seen."""

import asyncio
import json
from dataclasses import replace

import pytest

from overnight.engines.protocol import Completion, Step, Token
from overnight.errors import BadResponse, StoreError
from overnight.records import FinishReason
from overnight.runs.judging import judging_of, read_judgements, write_judgements
from overnight.runs.opening import load_plan, load_uncertainty_sweep
from overnight.runs.side_rows import read_side_rows
from overnight.runs.uncertainty_measuring import write_measures
from overnight.runs.uncertainty_table import read_measured_items
from tests.unit.report.uncertainty.sweep_folder import grid

JUDGE = "a-judge@12345678"


class Yes:
    """A judge that is for every answer by 0.9 to 0.1, and says nothing of some."""

    def __init__(self, silent_on: str | None = None) -> None:
        self.asked: list[str] = []
        self._silent_on = silent_on

    async def complete(self, request):
        self.asked.append(request.custom_id)
        if self._silent_on and self._silent_on in request.custom_id:
            raise BadResponse("half an answer")
        tokens = (Token(piece=b" Yes", logprob=-0.1), Token(piece=b"no", logprob=-2.3))
        return Completion(
            text=" Yes",
            finish_reason=FinishReason.LENGTH,
            prompt_tokens=9,
            cached_tokens=0,
            completion_tokens=1,
            token_logprobs=(-0.1,),
            latency_s=0.1,
            sent={},
            steps=(Step(taken=tokens[0], likeliest=tokens),),
        )


@pytest.fixture
def run(tmp_path):
    folder = grid(
        tmp_path / "run_r1", 6, 1, statistics={"resamples": 20}, measures=["g_nll"], labels=["em", "f1"]
    )
    spec = load_uncertainty_sweep(folder)
    plan = load_plan(folder, spec)
    return folder.trial(plan.trials[0].slug), plan, plan.trials[0], spec.experiment


def judge(run, engine) -> int:
    files, plan, trial, _ = run
    judging = judging_of(files, plan, trial, JUDGE)
    return asyncio.run(write_judgements(files, judging, engine, judge=JUDGE, seed=1, at_once=2))


def test_every_answer_is_judged_and_none_a_second_time(run) -> None:
    engine = Yes()
    assert judge(run, engine) == len(engine.asked) == len(set(engine.asked)) == 6
    again = Yes()
    assert judge(run, again) == 6
    assert again.asked == []


def test_another_answer_is_judged_again_and_another_judge_asks_all(run) -> None:
    files, plan, trial, _ = run
    judge(run, Yes())
    rows = list(read_side_rows(files.judgements).values())
    rows[0]["answer"] = "what was said before"
    files.judgements.write_text("".join(json.dumps(row) + "\n" for row in rows))
    engine = Yes()
    assert judge(run, engine) == 6
    assert len(engine.asked) == 1
    assert len(judging_of(files, plan, trial, "another").new) == 6


def test_an_answer_without_a_verdict_has_the_error_for_a_reason_and_is_asked_again(run) -> None:
    files, plan, trial, experiment = run
    first = plan.items_of(trial)[0]
    assert judge(run, Yes(silent_on=f"|{first.item_id}|")) == 5
    judged = experiment.model_copy(update={"labels": ("f1", "judge")})
    write_measures(files, plan, trial, judged)
    labels = read_measured_items(files.results).labels
    column = dict(zip(labels.item_keys, labels.column("judge").cells, strict=True))
    assert column[first.key].value is None
    assert column[first.key].undefined_because == "the judge gave no verdict: BadResponse: half an answer"
    assert {cell.value for key, cell in column.items() if key != first.key} == {1.0}
    assert labels.column("judge").source == JUDGE
    assert [item.key for item, _ in judging_of(files, plan, trial, JUDGE).new] == [first.key]
    assert judge(run, Yes()) == 6
    assert {row["error"] for row in read_side_rows(files.judgements).values()} == {None}


def test_a_row_that_lacks_what_a_judge_says_is_named_with_its_file(run) -> None:
    files, *_ = run
    files.judgements.write_text(json.dumps({"item_key": "facts|i000", "source": JUDGE}) + "\n")
    with pytest.raises(StoreError, match=r"judgements.jsonl: a row without 'yes_logprob'"):
        read_judgements(files.judgements)


def test_an_item_without_a_gold_answer_is_not_shown_to_a_judge(run) -> None:
    files, plan, trial, _ = run
    parts = tuple(
        replace(part, items=tuple(replace(item, answers=()) for item in part.items)) for part in plan.parts
    )
    assert judging_of(files, replace(plan, parts=parts), trial, JUDGE).asked == ()
