from dataclasses import replace

import pytest

from overnight.diagnosis.evidence import Draws, RunEvidence, Tables, TrialEvidence
from overnight.diagnosis.rules.completeness import row_mismatch, unfinished

# Ten items in two arms, two draws each: 40 draws, 40 predictions, 20 rows of scores.
WHOLE = TrialEvidence(
    slug="t",
    model="m",
    n_expected=40,
    draws=Draws(n_done=40),
    tables=Tables(n_predictions=40, n_prediction_arms=20, n_repeated_ids=0, n_scores=20),
)


def judged(trial: TrialEvidence) -> list[str]:
    return [finding.what for finding in row_mismatch(RunEvidence(run_id="r", trials=(trial,))).findings]


def test_a_whole_trial_has_no_mismatch() -> None:
    assert judged(WHOLE) == []


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (replace(WHOLE, draws=Draws(n_done=39)), "the journal has 39 draws, the plan 40"),
        (
            replace(WHOLE, tables=replace(WHOLE.tables, n_predictions=41)),
            "predictions.csv has 41 rows, the plan 40",
        ),
        (replace(WHOLE, tables=replace(WHOLE.tables, n_repeated_ids=3)), "3 custom ids stand twice"),
        (replace(WHOLE, tables=replace(WHOLE.tables, n_scores=19)), "per_item_scores.csv has 19 rows"),
        (replace(WHOLE, draws=Draws(n_done=40, n_repeated=2)), "2 draws were answered more than once"),
    ],
)
def test_each_count_that_is_off_is_named(broken: TrialEvidence, word: str) -> None:
    (what,) = judged(broken)
    assert word in what


def test_draws_that_failed_are_rows_all_the_same() -> None:
    # A failed draw stands in the journal and in the predictions, with its error in place of an answer.
    assert judged(replace(WHOLE, draws=Draws(n_done=38, failed={"BadResponse": 2}))) == []


def test_a_trial_that_a_deadline_stopped_may_have_fewer_rows() -> None:
    # Its tables hold the items that are complete, by design.
    fewer = Tables(n_predictions=20, n_prediction_arms=10, n_repeated_ids=0, n_scores=10)
    assert judged(replace(WHOLE, state="stopped", draws=Draws(n_done=22), tables=fewer)) == []


def test_asking_the_model_to_repeat_ids_is_said_to_do_nothing() -> None:
    # The answer gets its id from the request that it answers.
    (finding,) = row_mismatch(
        RunEvidence(run_id="r", trials=(replace(WHOLE, draws=Draws(n_done=39)),))
    ).findings
    assert "custom id" in finding.ineffective[0].what


def test_a_failed_trial_is_worth_as_much_as_the_draws_that_it_lacks() -> None:
    failed = replace(WHOLE, state="failed", error="the engine died", draws=Draws(n_done=10))
    (finding,) = unfinished(RunEvidence(run_id="r", trials=(WHOLE, failed))).findings
    assert finding.what == "failed: the engine died"
    assert finding.score == 0.75  # 30 of 40 are missing


@pytest.mark.parametrize("state", ["planned", "running"])
def test_a_trial_that_waits_its_turn_is_no_finding_while_somebody_works_on_the_run(state: str) -> None:
    # A diagnosis is asked for in the middle of a night, too.
    waiting = replace(WHOLE, state=state, draws=None, tables=Tables())
    going_on = RunEvidence(run_id="r", is_going_on=True, trials=(WHOLE, waiting))
    assert unfinished(going_on).findings == ()
    assert len(unfinished(replace(going_on, is_going_on=False)).findings) == 1
