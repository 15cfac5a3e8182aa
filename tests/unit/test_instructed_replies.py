"""Replies to the instructions of a trait, kept where a judge says that they do as they were told."""

import asyncio
from pathlib import Path

import pytest

from overnight.engines.dispatch import DispatchPolicy
from overnight.engines.protocol import Completion, Step, Token
from overnight.errors import StopRequested, UsageError
from overnight.planning.requests import Request
from overnight.records import FinishReason
from overnight.runs.instructed_replies import Asking, instructed_replies, read_number
from overnight.spec.trait_capture import ReplySettings
from overnight.traits.instructions import InstructionSet, read_instruction_set

SET = """
    instructions:
      - {positive: "Be sure.", negative: "Waver."}
      - {positive: "Never doubt.", negative: "Always doubt."}
    questions: ["Is it late?", "Is it far?"]
    eval_prompt: "How sure is this, from 0 to 100? {question} {answer}"
"""


class Actor:
    """An engine that does as it is told, and judges by the words; one reply of it is off its side."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        text = self._said(request)
        steps = tuple(
            Step(taken=Token(piece=word.encode(), logprob=-0.5, id=place), likeliest=())
            for place, word in enumerate(text.split())
        )
        return Completion(
            text=text,
            finish_reason=FinishReason.STOP,
            prompt_tokens=5,
            cached_tokens=0,
            completion_tokens=len(steps),
            token_logprobs=(-0.5,) * len(steps),
            latency_s=0.0,
            sent={},
            steps=steps if request.tokens else None,
        )

    def _said(self, request: Request) -> str:
        last = request.messages[-1]["content"]
        if request.messages[0]["role"] == "user":  # the judge's turn
            return "NONE" if "hm" in last else "95, quite sure" if "certainly" in last else " 5"
        system = request.messages[0]["content"]
        if system == "Never doubt." and "far" in last:
            return "maybe it is"
        if system == "Waver." and "far" in last:
            return "hm it is"
        return "certainly it is" if system in ("Be sure.", "Never doubt.") else "maybe it is"

    async def recover(self) -> None:
        """Be there already."""

    async def close(self) -> None:
        """Have nothing to give back."""


@pytest.fixture
def instructions(tmp_path: Path) -> InstructionSet:
    path = tmp_path / "sureness.yaml"
    path.write_text(SET, encoding="utf-8")
    return read_instruction_set(path)


def asking(engine: Actor, folder: Path, *, stop: bool = False) -> Asking:
    return Asking(
        engine=engine,
        model_digest="a" * 64,
        policy=DispatchPolicy(concurrency=2, attempts_per_item=1, max_engine_restarts=0),
        folder=folder,
        should_stop=lambda: stop,
    )


def test_replies_that_are_off_their_side_or_unscored_are_left_out_and_counted(
    instructions: InstructionSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Four replies a side; one positive was scored 5, one negative was given no number.
    monkeypatch.setattr("overnight.runs.instructed_replies._FEWEST", 2)
    engine = Actor()
    found = asyncio.run(instructed_replies(instructions, ReplySettings(), asking(engine, tmp_path)))
    assert [reply.name for reply in found.positive] == ["0-0", "0-1", "1-0"]
    assert [reply.name for reply in found.negative] == ["0-0", "1-0", "1-1"]
    assert (found.n_asked, found.n_off_side, found.n_unscored) == (8, 1, 1)
    assert found.positive[0].reply_ids == (0, 1, 2)
    assert found.positive[0].messages[0] == {"role": "system", "content": "Be sure."}


def test_what_was_answered_and_judged_is_not_asked_again(
    instructions: InstructionSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overnight.runs.instructed_replies._FEWEST", 2)
    first, second = Actor(), Actor()
    before = asyncio.run(instructed_replies(instructions, ReplySettings(), asking(first, tmp_path)))
    after = asyncio.run(instructed_replies(instructions, ReplySettings(), asking(second, tmp_path)))
    assert len(first.asked) == 16
    assert second.asked == []
    assert after == before


def test_without_a_judge_every_reply_counts(instructions: InstructionSet, tmp_path: Path) -> None:
    engine = Actor()
    found = asyncio.run(
        instructed_replies(instructions, ReplySettings(judge="none"), asking(engine, tmp_path))
    )
    assert len(found.positive) == len(found.negative) == 4
    assert len(engine.asked) == 8


def test_too_few_replies_are_an_error_that_says_what_to_do(
    instructions: InstructionSet, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"3 of 4 positive replies are left, wanted at least 4; soften"):
        asyncio.run(instructed_replies(instructions, ReplySettings(), asking(Actor(), tmp_path)))


def test_a_stop_is_heeded(instructions: InstructionSet, tmp_path: Path) -> None:
    engine = Actor()
    with pytest.raises(StopRequested):
        asyncio.run(instructed_replies(instructions, ReplySettings(), asking(engine, tmp_path, stop=True)))
    assert engine.asked == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("95, quite sure", 95),
        (" 5", 5),
        ("100", 100),
        ("Score: 0/100", 0),
        ("NONE", None),
        ("1000", None),
        ("", None),
    ],
)
def test_a_judges_number_is_read_off_what_it_wrote(text: str, number: float | None) -> None:
    assert read_number(text) == number
