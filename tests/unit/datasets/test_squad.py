import json
from pathlib import Path
from typing import Any

import pytest

from overnight.datasets.reading import Tally, iterate_items, read_items
from overnight.records import AnswerRule, ItemType
from overnight.spec.dataset import DatasetSpec

PASSAGE = "The ferry leaves at nine.\n It comes  back at noon."


def span(text: str) -> dict[str, Any]:
    return {"text": text, "answer_start": 0}


ANSWERABLE = {
    "id": "a1",
    "question": "When does the ferry leave?",
    "answers": [span("at nine"), span("nine"), span("at  nine")],
    "is_impossible": False,
}
UNANSWERABLE = {
    "id": "a2",
    "question": "Who steers the ferry?",
    "answers": [],
    "plausible_answers": [span("noon")],
    "is_impossible": True,
}


def document(*questions: dict[str, Any], **paragraph: Any) -> dict[str, Any]:
    return {
        "version": "v2.0",
        "data": [
            {"title": "Ferry", "paragraphs": [{"context": PASSAGE, "qas": list(questions)} | paragraph]}
        ],
    }


def test_a_question_keeps_its_id_its_passage_and_its_golds_in_order(read: Any) -> None:
    answerable, unanswerable = read("squad", document(ANSWERABLE, UNANSWERABLE))
    assert answerable.item_id == "a1"
    assert answerable.answers == ("at nine", "nine")  # each once, in the order of the file
    assert answerable.context == "The ferry leaves at nine. It comes back at noon."
    assert (answerable.type, answerable.rule) == (ItemType.OPEN, AnswerRule.SQUAD)
    assert unanswerable.is_unanswerable
    assert unanswerable.context == answerable.context


def test_a_file_of_squad_1_says_nothing_of_impossible_questions(read: Any) -> None:
    question = {key: ANSWERABLE[key] for key in ("id", "question", "answers")}
    assert len(read("squad", document(question))) == 1


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(read: Any) -> None:
    text = json.dumps(document(ANSWERABLE), indent=1)
    plain = read("squad", text)
    assert read("squad", b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()) == plain


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            document(ANSWERABLE | {"is_impossible": True}),
            "d.txt: data[0].paragraphs[0].qas[0]: is_impossible is true, and there are 2 gold answers; "
            "correct one of the two",
        ),
        (
            document(ANSWERABLE, UNANSWERABLE | {"is_impossible": False}),
            "d.txt: data[0].paragraphs[0].qas[1]: is_impossible is false, and there are 0 gold answers; "
            "correct one of the two",
        ),
        (
            document(ANSWERABLE, ANSWERABLE | {"question": "When?"}),
            "d.txt: data[0].paragraphs[0].qas[1]: id 'a1' stands at data[0].paragraphs[0].qas[0] already with "
            "another question, passage or answers; give every item an id of its own",
        ),
        (
            document({"id": "a1", "question": "When?", "answer": []}),
            "d.txt: data[0].paragraphs[0].qas[0]: no key 'answers'; did you mean 'answer'?",
        ),
        (
            document(ANSWERABLE | {"answers": [{"txt": "nine"}]}),
            "d.txt: data[0].paragraphs[0].qas[0].answers[0]: no key 'text'; did you mean 'txt'?",
        ),
        (
            document(ANSWERABLE, context=" "),
            "d.txt: data[0].paragraphs[0]: context: found ' ', wanted a text",
        ),
        (document(ANSWERABLE, qas=3), "d.txt: data[0].paragraphs[0].qas: found a int, wanted a list"),
        ({"Data": []}, "d.txt: data: found nothing, wanted a list"),
        ([], "d.txt: found [], wanted a JSON object"),
        ({"data": []}, "d.txt: no items in it; dataset 'd' needs at least one"),
        ("", "d.txt: the file is empty; a JSON document was wanted"),
        (b"\xff\xfe{\x00", "d.txt:1: byte 1 of the line is not UTF-8; save the file as UTF-8"),
    ],
)
def test_what_is_no_squad_is_said_with_its_place(refusal: Any, content: Any, message: str) -> None:
    assert refusal("squad", content) == message


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_said_to_end_too_early(refusal: Any, share: float) -> None:
    text = json.dumps(document(ANSWERABLE, UNANSWERABLE))
    said = refusal("squad", text[: int(share * len(text))])
    assert said.startswith("d.txt:1:")
    assert "not JSON" in said


def test_a_question_asked_from_memory_needs_a_gold(refusal: Any, read: Any) -> None:
    (item,) = read("squad", document(ANSWERABLE), type="closed")
    assert item.context is None
    assert refusal("squad", document(ANSWERABLE, UNANSWERABLE), type="closed") == (
        "d.txt: data[0].paragraphs[0].qas[1]: answers: empty; a closed-book item needs at least one gold answer"
    )


def test_the_public_half_of_the_dev_set_has_6078_questions(shared_data: Path) -> None:
    # 6,078 questions, 3,168 of them unanswerable, on 646 paragraphs: counted in the JSON itself.
    path = next((shared_data / "squad_v2").glob("*.json"))
    tally = Tally()
    items = list(iterate_items(DatasetSpec(name="squad", format="squad", path=path), tally))
    assert (len(items), sum(item.is_unanswerable for item in items)) == (6078, 3168)
    assert (tally.n_rows, tally.n_duplicates, tally.n_blank_answers) == (6078, 0, 0)
    assert len({item.item_id for item in items}) == 6078
    assert all(item.context for item in items)


def test_every_public_gold_is_a_span_of_its_passage(shared_data: Path) -> None:
    path = next((shared_data / "squad_v2").glob("*.json"))
    items = read_items(DatasetSpec(name="squad", format="squad", path=path))
    assert [i.item_id for i in items if any(a not in str(i.context) for a in i.answers)] == []
