import json
from pathlib import Path

import pytest

from overnight.checking.dataset import check_dataset
from overnight.cli import main
from overnight.records import ItemType
from overnight.spec.dataset import DatasetSpec


@pytest.fixture
def write(tmp_path: Path):
    def write(*rows: dict, item_type: ItemType = ItemType.CLOSED) -> DatasetSpec:
        path = tmp_path / "questions.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return DatasetSpec(name="mine", path=path, type=item_type)

    return write


def row(number: int, question: str, answers: list[str], **more) -> dict:
    return {"id": f"q{number}", "question": question, "answers": answers, **more}


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(["check", *argv])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def test_answerable_and_unanswerable_questions_and_their_lengths_are_counted(write) -> None:
    # By hand: questions of 1, 3 and 2 words, passages of 2, 4 and 2, golds of 1, 2 and 1.
    facts = check_dataset(
        write(
            row(1, "Why?", ["so"], context="a b"),
            row(2, "Who was it?", ["A B", "C"], context="a b c d"),
            row(3, "When then?", [], context="e f"),
            item_type=ItemType.OPEN,
        )
    ).facts
    assert facts is not None
    assert (facts.n_items, facts.n_answerable, facts.n_unanswerable) == (3, 2, 1)
    assert facts.golds_per_item == 1.5
    assert facts.fields == ("id", "question", "answers", "context")
    found = {one.field: (one.n, one.shortest, one.median, one.mean, one.longest) for one in facts.lengths}
    assert found == {
        "question": (3, 1, 2, 2, 3),
        "context": (3, 2, 2, pytest.approx(8 / 3), 4),
        "answer": (3, 1, 1, pytest.approx(4 / 3), 2),
    }


def test_a_question_that_comes_again_is_counted_where_its_passage_is_the_same(write) -> None:
    closed = check_dataset(write(row(1, "Who?", ["a"]), row(2, "who?", ["b"]), row(3, "When?", ["c"]))).facts
    assert closed is not None
    assert closed.n_duplicate_questions == 1
    opened = check_dataset(
        write(
            row(1, "Who?", ["a"], context="x"),
            row(2, "Who?", ["b"], context="y"),
            row(3, "Who?", ["b"], context="y"),
            item_type=ItemType.OPEN,
        )
    ).facts
    assert opened is not None
    assert opened.n_duplicate_questions == 1


def test_the_three_examples_do_not_depend_on_the_order_of_the_file(write) -> None:
    rows = [row(n, f"Question {n}?", ["a"]) for n in range(30)]
    one, other = check_dataset(write(*rows)).facts, check_dataset(write(*rows[::-1])).facts
    assert one is not None
    assert other is not None
    assert len(one.examples) == 3
    assert {item.key for item in one.examples} == {item.key for item in other.examples}


def test_a_file_that_does_not_parse_fails_the_check_with_the_place(write) -> None:
    found = check_dataset(write(row(1, "Who?", ["a"]), row(2, "Who?", [])))
    assert not found.is_good
    (stage,) = found.stages
    assert "questions.jsonl:2: answers: empty" in str(stage.failed_because)


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    """Return the folder of datasets of a project, which is where the command runs."""
    folder = tmp_path / "config" / "datasets"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (folder / "mine.yaml").write_text("path: mine.jsonl\n", encoding="utf-8")
    return folder


def test_the_command_leaves_with_0_for_a_good_dataset_and_says_what_is_in_it(project, capsys) -> None:
    (project / "mine.jsonl").write_text(json.dumps(row(1, "Who [b]?", ["a"])) + "\n", encoding="utf-8")
    assert run("dataset", "mine") == 0
    said = capsys.readouterr().out
    assert "mine can be used" in said
    assert "answerable: 1, unanswerable: 0" in said
    assert "Who [b]?" in said
    assert run("dataset", "mine", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["is_good"] is True
    assert record["facts"]["n_items"] == 1
    assert record["facts"]["examples"][0]["item_key"] == "mine|q1"


def test_the_command_leaves_with_1_for_a_bad_dataset_and_with_2_for_none(project, capsys) -> None:
    assert run("dataset", "mine") == 1
    assert "no such file" in capsys.readouterr().out
    assert run("dataset", "other") == 2
    assert "no other.yaml" in capsys.readouterr().err
