from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.datasets.formats.triviaqa import read_triviaqa_tsv
from overnight.datasets.reading import read_items
from overnight.records import AnswerRule, ItemType
from overnight.spec.dataset import DatasetSpec


def official(question_id: str = "tc_1", **fields: Any) -> dict[str, Any]:
    return {
        "Question": "Which  river runs through Riverton?",
        "QuestionId": question_id,
        "Answer": {
            "Value": "The Blue",
            "Aliases": ["blue river", "The Blue", "Blue  river", ""],
            "Type": "Entity",
        },
        "SearchResults": [],
    } | fields


def test_the_golds_are_the_sorted_set_of_the_value_and_its_aliases(read: Any) -> None:
    (item,) = read("triviaqa", {"Data": [official()], "Version": 1.0})
    assert item.answers == ("Blue river", "The Blue", "blue river")
    assert item.item_id == "tc_1"
    assert item.question == "Which river runs through Riverton?"
    assert (item.type, item.rule) == (ItemType.CLOSED, AnswerRule.TRIVIAQA)


def test_a_question_that_stands_twice_is_one_item(read: Any) -> None:
    # The published rc sets have a question once for the web and once for Wikipedia.
    assert len(read("triviaqa", {"Data": [official(), official("tc_2"), official()]})) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": []}, "d.txt: Data: found nothing, wanted a list"),
        ({"Data": [official(), 7]}, "d.txt: Data[1]: found 7, wanted a JSON object"),
        (
            {"Data": [{k: v for k, v in official().items() if k != "Answer"}]},
            "d.txt: Data[0]: no key 'Answer'; there are: Question, QuestionId, SearchResults",
        ),
        (
            {"Data": [official(Answer={"Value": "x", "Aliases": "y"})]},
            "d.txt: Data[0]: Aliases: found 'y', wanted a list of texts",
        ),
        (
            {"Data": [official(Answer={"Value": None})]},
            "d.txt: Data[0]: Value: found [None], wanted a list of texts",
        ),
        (
            {"Data": [official(), official(Question="Which?")]},
            "d.txt: Data[1]: id 'tc_1' stands at Data[0] already with another question, passage or answers; "
            "give every item an id of its own",
        ),
    ],
)
def test_what_is_no_triviaqa_is_said_with_its_place(refusal: Any, content: Any, message: str) -> None:
    assert refusal("triviaqa", content) == message


@pytest.mark.parametrize(
    ("line", "question", "answers"),
    [
        ("Who wrote it?\t['Ann', 'A. Lee']", "Who wrote it?", ("A. Lee", "Ann")),
        # A list that holds double quotes was quoted as a CSV cell is.
        ("""Who wrote it?\t"['Ann ""Pen"" Lee', ""O'Lee""]\"""", "Who wrote it?", ('Ann "Pen" Lee', "O'Lee")),
        # A question was quoted once, and the row once more.
        ('"""Who wrote """"It""""?"""\t["Ann"]', 'Who wrote "It"?', ("Ann",)),
        ('"Who wrote ""It""?"\t["Ann"]', 'Who wrote "It"?', ("Ann",)),
        ('"It" or "That"?\t["Ann"]', '"It" or "That"?', ("Ann",)),  # not quoted as a whole
        ("Who wrote it?\t['Ann', 'Ann', ' ']\r", "Who wrote it?", ("Ann",)),
    ],
)
def test_a_line_is_a_question_and_a_list_of_aliases(
    read: Any, line: str, question: str, answers: tuple[str, ...]
) -> None:
    (item,) = read("triviaqa_tsv", line + "\n\n")
    assert (item.question, item.answers) == (question, answers)
    assert item.rule is AnswerRule.TRIVIAQA


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "Who?\t__import__('os').getcwd()",
            "aliases: found \"__import__('os').getcwd()\", wanted a list of texts",
        ),
        ("Who?\t['Ann'", "aliases: found \"['Ann'\", wanted a list of texts"),
        ("Who?\t{'Ann': 1}", "aliases: found {'Ann': 1}, wanted a list of texts"),
        ("Who?\t['Ann', 3]", "aliases: found ['Ann', 3], wanted a list of texts"),
        ("Who?", "found 1 cells between tabs, wanted a question and a list of aliases"),
        ("Who?\t['Ann']\tx", "found 3 cells between tabs, wanted a question and a list of aliases"),
        (" \t['Ann']", "question: found ' ', wanted a text"),
        ("Who?\t[]", "answers: empty; a closed-book item needs at least one gold answer"),
        ("Who?\t" + "[" * 5000, "aliases: found"),
    ],
)
def test_a_bad_line_is_named_and_nothing_in_it_is_run(refusal: Any, line: str, message: str) -> None:
    said = refusal("triviaqa_tsv", f"What?\t['x']\n{line}\n")
    assert said.startswith(f"d.txt:2: {message}")


def test_an_id_is_that_of_the_question_wherever_it_stands(read: Any) -> None:
    one, two = read("triviaqa_tsv", "Who?\t['Ann']\nWhat?\t['x']\n")
    other, again = read("triviaqa_tsv", "What?\t['x']\nWho?\t['Ann', 'A']\n")
    assert (one.item_id, two.item_id) == (again.item_id, other.item_id)


def test_a_question_with_other_golds_is_another_item_and_one_with_the_same_is_not(read: Any) -> None:
    items = read("triviaqa_tsv", "Who?\t['Ann']\nWho?\t['Bo']\nWho?\t['Ann']\nWho?\t['Bo']\n")
    assert [item.answers for item in items] == [("Ann",), ("Bo",)]
    assert len({item.item_id for item in items}) == 2


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs"))), min_size=1))
def test_whatever_python_writes_as_a_list_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, aliases: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "aliases.tsv"
    path.write_text(f"Who?\t{aliases!r}\n", encoding="utf-8")
    (row,) = read_triviaqa_tsv(DatasetSpec(name="d", format="triviaqa_tsv", path=path), path)
    assert row.answers == tuple(sorted(set(filter(None, aliases))))


def test_the_public_dev_file_has_8000_questions(shared_data: Path) -> None:
    path = shared_data / "triviaqa" / "trivia.dev.txt"
    items = read_items(DatasetSpec(name="t", format="triviaqa_tsv", path=path))
    assert len(items) == len({item.item_id for item in items}) == 8000
    assert all(item.answers for item in items)
    assert not any(item.question.startswith('""') or '""' in item.question for item in items)
    assert round(sum(len(item.answers) for item in items) / 8000) == 14


def test_the_public_sample_of_the_official_format_reads(shared_data: Path) -> None:
    path = shared_data / "triviaqa" / "triviaqa_sample.json"
    (item,) = read_items(DatasetSpec(name="t", format="triviaqa", path=path))
    assert item.item_id == "tc_33"
    assert len(item.answers) == 5  # five aliases, of which one is the value
