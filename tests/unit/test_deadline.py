"""Working against a deadline: what an engine too slow for the night leaves behind."""

import asyncio
import csv
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from overnight.cli.sweep_options import load_sweep
from overnight.engines.protocol import Completion
from overnight.planning.requests import Request
from overnight.records import FinishReason
from overnight.runs.building import build_requests
from overnight.runs.deadline import answered, generate_in_rounds, what_was_left, what_was_missed
from overnight.runs.generating import count_draws
from overnight.runs.opening import create_run, load_plan
from overnight.runs.parsing import write_predictions
from overnight.runs.scoring import write_scores
from overnight.spec.execution import Execution
from overnight.spec.run_options import RunOptions
from overnight.store.journal import read_rows


class SlowEngine:
    """Answers after a while, and after ``n_answers`` hardly ever."""

    def __init__(self, n_answers: int) -> None:
        self.n_left = n_answers

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(0.001)
        self.n_left -= 1
        return Completion(
            text="1",
            finish_reason=FinishReason.STOP,
            prompt_tokens=3,
            cached_tokens=0,
            completion_tokens=1,
            token_logprobs=(-0.5,),
            latency_s=0.001,
            sent={},
        )

    async def recover(self) -> None: ...

    async def close(self) -> None: ...


class Clock:
    """A deadline that comes when the engine has given its answers: no test waits for a clock."""

    def __init__(self, engine: SlowEngine) -> None:
        self._engine = engine

    def __le__(self, _now: datetime) -> bool:
        return self._engine.n_left <= 0

    def __sub__(self, _now: datetime) -> timedelta:
        return timedelta(seconds=1)


@pytest.fixture
def cut_run(project: Path, tmp_path: Path):
    """Return a run of two trials on six items that got 38 of its 48 answers, and its plan."""
    (project / "prompts" / "other.txt").write_text("You answer in one word.")
    (project / "prompts" / "other.yaml").write_text("control: plain.txt\ntreatment: other.txt\n")
    sweep = load_sweep(
        str(project / "sweeps" / "s.yaml"),
        changes={
            "prompt_sets": "brief,other",
            "temps": "0,0.7",
            "lines_per_part": 2,
            "deadline": "07:00",
            "max_concurrent_jobs": 1,
        },
    )
    folder = create_run(sweep.spec, RunOptions(run_id="r", experiments_dir=tmp_path))
    plan = load_plan(folder, sweep.spec)
    (block,) = plan.blocks
    for trial in block.trials:
        build_requests(folder, plan, trial)
    engine = SlowEngine(38)
    execution = sweep.spec.execution.model_copy(update={"request_cache": False})
    asyncio.run(
        generate_in_rounds(
            folder, plan, block, engine, execution, until=Clock(engine), on_slice=lambda *_: None
        )
    )
    return folder, plan, block.trials, sweep.spec


def test_every_trial_has_come_about_as_far_when_the_deadline_comes(cut_run) -> None:
    # One trial after the other, the first would have all of its 24 draws and the second 14.
    folder, plan, trials, _ = cut_run
    done = [count_draws(folder, plan, trial).done for trial in trials]
    assert sum(done) == 38
    assert max(done) - min(done) <= 16  # a turn: 4 items x 2 arms x 2 temperatures


def test_the_tables_of_a_cut_trial_hold_complete_pairs_and_nothing_else(cut_run) -> None:
    folder, plan, trials, spec = cut_run
    for trial in trials:
        tabled = answered(folder, plan, trial)
        assert 0 < len(tabled.items) < len(plan.items)
        write_predictions(folder.trial(trial.slug), tabled, trial)
        write_scores(
            folder.trial(trial.slug), tabled, trial, spec.experiment.unsupported, spec.experiment.scoring
        )
        arms = defaultdict(set)
        with folder.trial(trial.slug).scores.open(newline="") as file:
            for row in csv.DictReader(file):
                arms[row["item_key"]].add((row["condition"], row["temp"]))
        both = {(c, t) for c in ("control", "treatment") for t in ("0.0", "0.7")}
        assert list(arms.values()) == [both] * len(tabled.items)


def test_what_was_left_is_said_in_numbers(cut_run) -> None:
    folder, plan, trials, _ = cut_run
    trial = trials[-1]
    counts = count_draws(folder, plan, trial)
    said = what_was_left(plan, trial, answered(folder, plan, trial), counts)
    assert f"{24 - counts.done} of 24 draws were left" in said
    assert "of 6 items are complete in every arm" in said


def test_a_trial_that_was_in_time_has_nothing_left(cut_run) -> None:
    folder, plan, trials, _ = cut_run
    whole = count_draws(folder, plan, trials[0])
    all_done = type(whole)(expected=24, done=23, errors=1)
    assert what_was_left(plan, trials[0], plan, all_done) is None


def test_what_came_in_before_the_deadline_is_in_the_journal_once(cut_run) -> None:
    folder, _, trials, _ = cut_run
    for trial in trials:
        names = [row["custom_id"] for row in read_rows(folder.trial(trial.slug).journal)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("scheduled", "begins", "is_missed"),
    [
        ("2026-11-22 22:00", "2026-11-22 22:00", False),
        ("2026-11-22 22:00", "2026-11-23 06:30", False),  # a short night
        ("2026-11-22 22:00", "2026-11-23 07:00", True),
        ("2026-11-22 22:00", "2026-11-23 21:00", True),  # a machine that was turned on in the evening
        ("2026-11-23 06:00", "2026-11-23 06:01", False),
    ],
)
def test_a_night_is_missed_when_its_own_morning_has_come(
    scheduled: str, begins: str, is_missed: bool
) -> None:
    # Taken for that of the next day, the deadline would let it hold the GPU for a day.
    at, now = (datetime.fromisoformat(text).astimezone() for text in (scheduled, begins))
    said = what_was_missed(Execution(deadline="07:00"), at.astimezone(UTC), now)
    assert (said is not None) == is_missed
    if said:
        assert said.startswith(
            "left out: it was to begin at 2026-11-22 22:00, and its deadline, 2026-11-23 07:00"
        )
    assert what_was_missed(Execution(), at, now) is None
