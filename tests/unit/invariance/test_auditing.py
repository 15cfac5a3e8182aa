"""The audit of a trial: what is asked again, what is written down, and that it touches nothing and fails nothing.

The engine is scripted, so that what it says alone is known.
"""

import asyncio
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overnight.engines.protocol import Completion, Step, Token
from overnight.errors import BadResponse, EngineUnavailable, RateLimited
from overnight.invariance.record import AuditRecord
from overnight.planning.plan import ModelBlock, Plan, make_plan
from overnight.planning.requests import Request
from overnight.planning.trial import Trial
from overnight.records import FinishReason, Item
from overnight.runs.auditing import Audit
from overnight.runs.building import build_requests
from overnight.runs.generating import count_draws, generate
from overnight.runs.trials import trial_artifacts
from overnight.spec.audit import AuditSettings
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.store.files import read_json
from overnight.store.journal import read_rows
from overnight.store.run_folder import RunFolder, TrialFolder

ALL = {"share": 1.0, "at_least": 0}


class TwoFacedEngine:
    """Says yes in company. Alone it says what its script has for the custom id: a text, or an error to raise.

    It finds yes a bit likelier than well, and much likelier than no.
    """

    def __init__(self, alone: dict[str, str | Exception] | None = None, counted: int = 9) -> None:
        self.alone = alone or {}
        self.counted = counted
        self.asked_alone: list[str] = []
        self.under_way = 0

    async def complete(self, request: Request) -> Completion:
        text: str | Exception = "yes"
        counted = None
        if request.alternatives:
            self.asked_alone.append(request.custom_id)
            assert self.under_way == 0, "asked beside another one"
            text, counted = self.alone.get(request.custom_id, "yes"), self.counted
        self.under_way += 1
        await asyncio.sleep(0)
        self.under_way -= 1
        if isinstance(text, Exception):
            raise text
        tokens = [
            Token(piece=piece, logprob=math.log(share))
            for piece, share in ((b"yes", 0.45), (b"well", 0.44), (b"no", 0.04))
        ]
        taken = next(token for token in tokens if token.piece == text.encode())
        return Completion(
            text=text,
            finish_reason=FinishReason.STOP,
            prompt_tokens=9,
            cached_tokens=0,
            completion_tokens=1,
            token_logprobs=(taken.logprob,),
            latency_s=0.0,
            sent={},
            steps=(Step(taken=taken, likeliest=tuple(tokens)),) if request.alternatives else None,
            counted_tokens=counted,
        )

    async def recover(self) -> None: ...

    async def close(self) -> None: ...


@dataclasses.dataclass
class Answered:
    """A trial whose draws are all there."""

    folder: RunFolder
    plan: Plan
    block: ModelBlock
    trial: Trial

    @property
    def files(self) -> TrialFolder:
        return self.folder.trial(self.trial.slug)

    @property
    def draws(self) -> list[str]:
        return [row["custom_id"] for row in read_rows(self.files.journal)]

    def audit(
        self, engine: TwoFacedEngine, should_stop: Callable[[], bool] = lambda: False, **settings: Any
    ) -> AuditRecord:
        return asyncio.run(self.prepared(**settings).carry_out(engine, should_stop))

    def prepared(self, **settings: Any) -> Audit:
        return Audit(
            folder=self.folder,
            plan=self.plan,
            block=self.block,
            trial=self.trial,
            settings=AuditSettings(**(ALL | settings)),
            confidence=0.95,
        )


@pytest.fixture
def answered(tmp_path: Path, make_spec: Callable[..., PromptSweepSpec], items: list[Item]) -> Answered:
    spec = make_spec(
        {"request_cache": False}, sampling={"samples_per_item": 2}, defaults={"temps": [0.0, 0.7]}
    )
    plan = make_plan(spec, items)
    (block,) = plan.blocks
    (trial,) = block.trials
    folder = RunFolder(tmp_path / "run_r1")
    build_requests(folder, plan, trial)
    asyncio.run(generate(folder, plan, block, trial, TwoFacedEngine(), spec.execution))
    return Answered(folder, plan, block, trial)


def _greedy(answered: Answered) -> list[str]:
    return [draw for draw in answered.draws if "|0.0|" in draw]


def test_answers_that_do_not_depend_on_their_neighbours_are_all_the_same(answered) -> None:
    # 7 items in 2 arms, 1 draw at temperature 0 and 2 at 0.7.
    found = answered.audit(TwoFacedEngine())
    assert (found.state, found.all.n, found.all.n_identical, found.all.rate) == ("complete", 42, 42, 0.0)
    # 1 - (alpha / 2) ** (1 / n), the upper bound of Clopper and Pearson where nothing was found.
    assert found.all.interval == pytest.approx((0.0, 1 - 0.025 ** (1 / 42)))
    assert [(arm.condition, arm.temperature, arm.n) for arm in found.arms] == [
        ("control", 0.0, 7),
        ("control", 0.7, 14),
        ("treatment", 0.0, 7),
        ("treatment", 0.7, 14),
    ]


def test_ties_are_told_from_real_differences(answered) -> None:
    # ln(.45 / .44) = 0.02 is below the gap of a tie, and ln(.45 / .04) = 2.4 is above it.
    tie, real = _greedy(answered)[:2]
    drawn = next(draw for draw in answered.draws if "|0.7|" in draw)
    found = answered.audit(TwoFacedEngine({tie: "well", real: "no", drawn: "well"}))
    counts = found.all
    assert (counts.n_different, counts.n_ties, counts.n_real, counts.n_not_known) == (3, 1, 1, 1)
    rows = {row["custom_id"]: row for row in read_rows(answered.files.lone_answers)}
    assert rows[tie]["gap"] == pytest.approx(math.log(0.44 / 0.45))
    assert (rows[real]["kind"], rows[real]["text_alone"]) == ("real", "no")
    assert rows[drawn]["why"] == "the tokens were drawn at random"


def test_draws_that_were_asked_again_are_not_asked_a_third_time(answered) -> None:
    first, second = TwoFacedEngine(), TwoFacedEngine()
    before = answered.audit(first, share=0.5)
    assert answered.audit(second, share=0.5) == before
    assert (len(first.asked_alone), second.asked_alone) == (21, [])


def test_another_tolerance_needs_no_further_answer(answered) -> None:
    (tie,) = _greedy(answered)[:1]
    assert answered.audit(TwoFacedEngine({tie: "well"})).all.n_ties == 1
    again = TwoFacedEngine()
    assert answered.audit(again, tie_gap=0.001).all.n_real == 1
    assert again.asked_alone == []


def test_an_audit_changes_neither_journal_nor_counts_nor_cache(answered, own_cache) -> None:
    def state() -> tuple[bytes, Any, list[Path]]:
        counts = count_draws(answered.folder, answered.plan, answered.trial)
        return answered.files.journal.read_bytes(), counts, sorted(own_cache.rglob("*"))

    before = state()
    answered.audit(TwoFacedEngine())
    assert state() == before


@pytest.mark.parametrize("error", [EngineUnavailable("gone"), RateLimited("later"), RuntimeError("what?")])
def test_an_engine_that_dies_leaves_an_audit_that_says_so(answered, error) -> None:
    # The first two were answered: they count, and the rest is asked when the run goes on.
    engine = TwoFacedEngine()
    answered.audit(engine)
    answered.files.lone_answers.unlink()
    third = engine.asked_alone[2]
    found = answered.audit(TwoFacedEngine({third: error}))
    assert (found.state, found.all.n, found.n_chosen) == ("incomplete", 2, 42)
    assert found.why == f"{type(error).__name__}: {error}"
    later = TwoFacedEngine()
    assert answered.audit(later).state == "complete"
    assert later.asked_alone == engine.asked_alone[2:]


def test_a_draw_without_a_second_answer_is_no_difference(answered) -> None:
    draw = answered.draws[0]
    found = answered.audit(TwoFacedEngine({draw: BadResponse("html")}))
    assert (found.state, found.n_errors, found.all.n, found.all.n_different) == ("complete", 1, 41, 0)


def test_an_engine_that_answers_nothing_any_more_does_not_take_the_night(answered) -> None:
    engine = TwoFacedEngine(dict.fromkeys(answered.draws, BadResponse("no answer within 600 s")))
    found = answered.audit(engine)
    assert (found.state, len(engine.asked_alone)) == ("incomplete", 3)
    assert "no answer within 600 s" in found.why


def test_a_stop_ends_the_audit(answered) -> None:
    answers = iter([False, False, True])
    found = answered.audit(TwoFacedEngine(), should_stop=lambda: next(answers))
    assert (found.state, found.all.n) == ("incomplete", 2)
    assert found.why == "the run was asked to stop with 40 draws left"


def test_an_audit_that_there_is_no_time_for_says_so(answered) -> None:
    found = answered.prepared().skip("the draws were asked against a deadline")
    assert (found.state, found.why, found.n_chosen, found.all.rate) == (
        "skipped",
        "the draws were asked against a deadline",
        42,
        None,
    )
    assert found.all.undefined_because == "no draw was asked again"


def test_answers_of_the_cache_and_of_another_model_are_left_alone(answered) -> None:
    # They were given beside other neighbours, and this model would answer otherwise.
    rows = list(read_rows(answered.files.journal))
    rows[0]["cached"] = True
    rows[1]["model_digest"] = "b" * 64
    answered.files.journal.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    engine = TwoFacedEngine()
    assert answered.audit(engine).n_draws == 40
    assert not {rows[0]["custom_id"], rows[1]["custom_id"]} & set(engine.asked_alone)


def test_a_server_that_read_less_than_the_prompt_is_found_out(answered) -> None:
    # The journal says 9 tokens; the tokenizer counts 12.
    found = answered.audit(TwoFacedEngine(counted=12)).prompt_tokens
    assert (found.n, found.n_different, len(found.examples)) == (42, 42, 5)
    assert (found.examples[0].evaluated, found.examples[0].counted) == (9, 12)


def test_the_files_of_an_audit_are_sealed_with_the_trial(answered) -> None:
    answered.audit(TwoFacedEngine())
    sealed = trial_artifacts(answered.folder, answered.trial.slug, 0)
    assert {f"{answered.trial.slug}/results/audit.json{end}" for end in ("", "l")} <= set(sealed)
    record = AuditRecord.model_validate(read_json(answered.files.audit))
    assert record.n_chosen == 42
