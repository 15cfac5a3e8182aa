import re

import pytest

from overnight.datasets.freezing import content_id
from overnight.datasets.reading import read_items
from overnight.prompting.messages import CLOSED_INSTRUCTION, OPEN_INSTRUCTION
from overnight.records import Item, ReplyKind
from overnight.scoring.abstention import classify_reply
from overnight.spec.config_root import ConfigRoot, shipped_config

ROOT = ConfigRoot(shipped_config())


@pytest.fixture(scope="module")
def starter_closed() -> list[Item]:
    return read_items(ROOT.dataset("starter_closed"))


@pytest.fixture(scope="module")
def starter_open() -> list[Item]:
    return read_items(ROOT.dataset("starter_open"))


def test_there_are_sixty_closed_starter_questions_with_aliases(starter_closed: list[Item]) -> None:
    assert len(starter_closed) >= 60
    assert sum(len(item.answers) > 1 for item in starter_closed) >= len(starter_closed) / 2


def test_there_are_sixty_starter_passages_a_third_of_them_without_the_answer(
    starter_open: list[Item],
) -> None:
    assert len({item.context for item in starter_open}) >= 60
    assert sum(item.is_unanswerable for item in starter_open) * 3 == len(starter_open)


def test_an_answer_to_a_starter_passage_stands_in_it(starter_open: list[Item]) -> None:
    strangers = [
        item.item_id
        for item in starter_open
        if item.answers and not any(answer.lower() in str(item.context).lower() for answer in item.answers)
    ]
    assert strangers == []


def test_every_first_answer_to_a_starter_passage_is_a_span_of_it(starter_open: list[Item]) -> None:
    strangers = [
        item.item_id for item in starter_open if item.answers and item.answers[0] not in str(item.context)
    ]
    assert strangers == []


def test_no_starter_id_or_question_stands_twice(starter_closed: list[Item], starter_open: list[Item]) -> None:
    for items in (starter_closed, starter_open):
        assert len({item.item_id for item in items}) == len(items)
        assert len({content_id(item) for item in items}) == len(items)


def test_no_starter_answer_reads_like_an_abstention(
    starter_closed: list[Item], starter_open: list[Item]
) -> None:
    answers = [answer for item in starter_closed + starter_open for answer in item.answers]
    assert [answer for answer in answers if classify_reply(answer) is not ReplyKind.ANSWER] == []


@pytest.mark.parametrize("name", ROOT.names("prompts"))
def test_every_shipped_prompt_set_loads_with_two_different_arms(name: str) -> None:
    prompts = ROOT.prompt_set(name)
    assert prompts.control
    assert prompts.treatment
    assert prompts.control != prompts.treatment


def test_at_least_three_prompt_sets_are_shipped_against_one_control() -> None:
    sets = [ROOT.prompt_set(name) for name in ROOT.names("prompts")]
    assert len(sets) >= 3
    assert len({prompts.control for prompts in sets}) == 1


def wanted_abstentions(text: str) -> set[str]:
    return set(re.findall(r"repl(?:y|ying)(?: exactly)?: ([^.]+)\.", text))


def test_control_and_instruction_ask_for_the_same_words_of_abstention() -> None:
    # A control that asks for other words than the task would measure the contradiction, not the treatment.
    asked = wanted_abstentions(CLOSED_INSTRUCTION)
    assert asked == wanted_abstentions(OPEN_INSTRUCTION)
    assert len(asked) == 1
    for name in ROOT.names("prompts"):
        prompts = ROOT.prompt_set(name)
        assert wanted_abstentions(prompts.control) == asked
        assert wanted_abstentions(prompts.treatment) <= asked


def test_the_words_of_abstention_are_scored_as_one() -> None:
    for words in wanted_abstentions(CLOSED_INSTRUCTION):
        assert classify_reply(words) is classify_reply(f"{words}.") is ReplyKind.ABSTENTION
