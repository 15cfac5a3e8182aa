import json

import pytest

from overnight.records import Condition, Item, ItemType
from overnight.report import explorer as module
from overnight.report import reading
from overnight.report.explorer import explorer
from overnight.report.page import run_page
from overnight.report.reading import read_run


@pytest.fixture
def passages() -> list[Item]:
    """Return six open items over two passages."""
    return [
        Item(
            dataset="wiki",
            item_id=f"w{i}",
            type=ItemType.OPEN,
            question=f"Question {i}?",
            answers=() if i == 5 else ("gold",),
            context=f"Passage {i // 3}. " + "word " * 100,
        )
        for i in range(6)
    ]


def replies_to(items, control, treatment) -> dict[tuple[str, Condition], tuple[str, float]]:
    return {
        (item.item_id, arm): (text, float(text == "gold"))
        for item in items
        for arm, text in zip(Condition, (control, treatment), strict=True)
    }


def test_a_passage_and_a_question_stand_on_the_page_once_for_all_their_items_and_trials(
    make_run, trial, passages
) -> None:
    replies = replies_to(passages, "gold", "lead")
    run = read_run(make_run([trial("one", replies), trial("two", replies)], passages))
    data = explorer(run)
    asked = json.loads(data.asked)
    assert [item[3] for item in asked["items"]] == [f"Question {i}?" for i in range(6)]
    assert [item[4] for item in asked["items"]] == [0, 0, 0, 1, 1, 1]
    assert len(asked["passages"]) == 2
    # Both trials have all items: lost, since control alone was right, with replies that differ.
    for text in data.trials:
        assert [row[:4] for row in json.loads(text)["rows"]] == [[i, 0.0, "lost", 1] for i in range(6)]


def test_the_scores_of_a_reply_are_those_of_the_table(make_run, trial, passages) -> None:
    data = explorer(read_run(make_run([trial("one", replies_to(passages, "gold", "lead"))], passages)))
    shown = json.loads(data.trials[0])
    control, treatment = shown["rows"][0][4:]
    assert control[:2] == ["gold", "stop"]
    assert shown["verdicts"][control[2]] == "right, F1 100 %"
    assert shown["verdicts"][treatment[2]] == "wrong, F1 0 %"


def test_texts_are_cut_further_where_the_page_would_grow_too_large(
    make_run, trial, passages, monkeypatch
) -> None:
    # 2 passages of 511 characters, 12 replies of 1,500, questions and answers: 19,000 in all, with texts of at
    # most 500 characters 7,100, with 250 3,600.
    replies = replies_to(passages, "c" * 1500, "t" * 1500)
    run = read_run(make_run([trial("one", replies)], passages))
    monkeypatch.setattr(module, "PAGE_CHARS", 5000)
    data = explorer(run)
    assert data.n_chars == 250
    assert json.loads(data.trials[0])["rows"][0][4][0] == ["c" * 250, 1500]
    monkeypatch.setattr(module, "PAGE_CHARS", 20_000)
    assert json.loads(explorer(run).trials[0])["rows"][0][4][0] == "c" * 1500


def test_the_page_says_how_many_it_shows_of_how_many(
    make_run, trial, questions, better_replies, monkeypatch
) -> None:
    # 2 trials of 12 items, at most 5 shown of each.
    monkeypatch.setattr(reading, "EXAMPLES_PER_TRIAL", 5)
    monkeypatch.setattr(reading, "_FEWEST_EXAMPLES", 5)
    folder = make_run([trial("one", better_replies), trial("two", better_replies)], questions)
    page = run_page(read_run(folder))
    assert "On this page are 10 of 24 pairs of replies" in page
    assert "All of them are in predictions.csv" in page
    assert "one (5 of 12)" in page
