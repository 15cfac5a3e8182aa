import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.engines.openai.dialects import FACTS
from overnight.prompting.asking import Asking, BriefStyle, prefix, prompt, stop_strings, template_digest
from overnight.prompting.briefs import BRIEFS, WORKED_EXAMPLES
from overnight.records import Item, ItemType


def item(number: int, *, context: str | None = None, answers: tuple[str, ...] = ("yes", "no")) -> Item:
    kind = ItemType.CLOSED if context is None else ItemType.OPEN
    return Item(
        dataset="d",
        item_id=str(number),
        type=kind,
        question=f"q{number}?",
        answers=answers,
        context=context,
    )


def said(asked: Item, shots: list[Item], **asking) -> str:
    (message,) = prompt(asked, shots, Asking(**asking))
    assert message["role"] == "user"
    return message["content"]


def test_a_prompt_is_the_instruction_then_the_shots_then_the_item() -> None:
    # Worked by hand from the layout that the specification describes.
    shots = [item(1, context="c1"), item(2)]
    assert said(item(3, context="c3"), shots, style="short") == (
        f"{BRIEFS[BriefStyle.SHORT]}\n\n"
        "Context: c1\nQuestion: q1?\nAnswer: yes\n\n"
        "Question: q2?\nAnswer: yes\n\n"
        "Context: c3\nQuestion: q3?\nAnswer:"
    )


def test_a_repeated_instruction_stands_before_every_question() -> None:
    brief = BRIEFS[BriefStyle.SHORT]
    assert said(item(2), [item(1)], style="short", repeat_brief=True) == (
        f"{brief}\n\nQuestion: q1?\nAnswer: yes\n\n{brief}\n\nQuestion: q2?\nAnswer:"
    )


def test_an_instruction_stands_once_where_there_is_nothing_to_repeat_it_for() -> None:
    for repeat in (True, False):
        assert said(item(2), [], style="chat", repeat_brief=repeat).count(BRIEFS[BriefStyle.CHAT]) == 1


def test_without_an_instruction_or_shots_there_is_only_the_question() -> None:
    assert said(item(2, context="c"), [], style="none", with_context=False) == "Question: q2?\nAnswer:"
    assert prefix([], Asking(style=BriefStyle.NONE)) == ""


def test_no_passage_is_shown_where_none_is_wanted() -> None:
    for style in BriefStyle:
        text = said(item(2, context="c2"), [item(1, context="c1")], style=style, with_context=False)
        assert "Context:" not in text


def test_the_manual_style_shows_its_three_examples_once() -> None:
    text = said(item(2), [item(1)], style="manual", repeat_brief=True)
    assert len(WORKED_EXAMPLES) == 3
    for example in WORKED_EXAMPLES:
        assert text.count(f"Question: {example.question}\nAnswer: {example.answer}\n\n") == 1
        assert example.answer in example.context  # the passage says what the example answers
    assert text.count(BRIEFS[BriefStyle.MANUAL]) == 3  # before the examples, the shot and the item


@pytest.mark.parametrize("style", BriefStyle)
@pytest.mark.parametrize("repeat", [True, False])
@given(n_shots=st.integers(0, 3))
def test_all_prompts_of_a_trial_begin_with_the_same_prefix(style, repeat, n_shots) -> None:
    shots = [item(n) for n in range(n_shots)]
    asking = Asking(style=style, repeat_brief=repeat)
    for asked in (item(8), item(9, context="c")):
        (message,) = prompt(asked, shots, asking)
        rest = message["content"].removeprefix(prefix(shots, asking))
        assert re.fullmatch(r"(Context: c\n)?Question: q[89]\?\nAnswer:", rest)


def test_an_answer_ends_where_the_next_question_would_begin() -> None:
    # Three and four newlines are also two; only a detailed answer may have a paragraph.
    for style in BriefStyle:
        stops = stop_strings(style)
        assert {"Question:", "Context:", "Answer:"} < set(stops)
        for newlines in (2, 3, 4):
            ends = any(stop in "\n" * newlines for stop in stops)
            assert ends == (newlines == 4 or style is not BriefStyle.DETAILED)


def test_every_server_takes_our_stop_strings() -> None:
    most = min(facts.most_stops for facts in FACTS.values() if facts.most_stops is not None)
    assert all(len(stop_strings(style)) <= most for style in BriefStyle)


def test_whatever_changes_a_prompt_changes_the_digest_of_its_template() -> None:
    askings = [
        Asking(style=style, repeat_brief=repeat, with_context=shown)
        for style in BriefStyle
        for repeat in (True, False)
        for shown in (True, False)
    ]
    digests = {template_digest(asking) for asking in askings}
    # Without an instruction there is none to repeat; all others differ.
    assert len(digests) == len(askings) - 2


def test_the_number_and_the_seed_of_shots_are_not_in_the_template() -> None:
    assert template_digest(Asking(shots=1)) == template_digest(Asking(shots=2, shot_seed=3))
