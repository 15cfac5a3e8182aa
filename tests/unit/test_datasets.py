import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.datasets.freezing import content_id, load_items, prepare_items, write_items
from overnight.datasets.reading import clean_text, read_items
from overnight.errors import StoreError, UsageError
from overnight.ids import file_digest
from overnight.prompting.messages import CLOSED_INSTRUCTION, OPEN_INSTRUCTION
from overnight.records import Item, ItemType, ReplyKind
from overnight.scoring.abstention import classify_reply
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.dataset import DatasetSpec

CLOSED = {"id": "q1", "question": "How many?", "answers": ["four"]}
OPEN = {"id": "q1", "question": "How many?", "answers": ["four"], "context": "There are four."}
ROOT = ConfigRoot(shipped_config())


def dataset(tmp_path: Path, content: bytes, kind: ItemType = ItemType.CLOSED) -> DatasetSpec:
    path = tmp_path / "facts.jsonl"
    path.write_bytes(content)
    return DatasetSpec(name="facts", type=kind, path=path)


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def refusal(spec: DatasetSpec) -> str:
    with pytest.raises(UsageError) as caught:
        read_items(spec)
    return str(caught.value)


def test_a_row_becomes_an_item(tmp_path: Path) -> None:
    assert read_items(dataset(tmp_path, lines(OPEN), ItemType.OPEN)) == [
        Item(
            dataset="facts",
            item_id="q1",
            type=ItemType.OPEN,
            question="How many?",
            answers=("four",),
            context="There are four.",
        )
    ]


def test_items_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [CLOSED | {"id": name} for name in ("c", "a", "b")]
    assert [item.item_id for item in read_items(dataset(tmp_path, lines(*rows)))] == ["c", "a", "b"]


def test_an_open_item_without_answers_is_unanswerable(tmp_path: Path) -> None:
    (item,) = read_items(dataset(tmp_path, lines(OPEN | {"answers": []}), ItemType.OPEN))
    assert item.is_unanswerable


def test_a_number_is_an_id(tmp_path: Path) -> None:
    (item,) = read_items(dataset(tmp_path, lines(CLOSED | {"id": 7})))
    assert item.item_id == "7"


def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path) -> None:
    plain = read_items(dataset(tmp_path, lines(CLOSED)))
    assert read_items(dataset(tmp_path, b"\xef\xbb\xbf" + lines(CLOSED))) == plain
    assert read_items(dataset(tmp_path, b"\xef\xbb\xbf\n" + lines(CLOSED))) == plain


def test_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    rows = lines(CLOSED, CLOSED | {"id": "q2"})
    plain = read_items(dataset(tmp_path, rows))
    assert read_items(dataset(tmp_path, rows.replace(b"\n", b"\r\n"))) == plain


def test_blank_lines_and_a_missing_last_line_end_change_nothing(tmp_path: Path) -> None:
    (item,) = read_items(dataset(tmp_path, b"\n  \n" + lines(CLOSED).rstrip(b"\n")))
    assert item.item_id == "q1"


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    row = CLOSED | {"question": "How\u2028many?"}
    (item,) = read_items(dataset(tmp_path, json.dumps(row, ensure_ascii=False).encode()))
    assert item.question == "How many?"


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert "".join(once.split()) == "".join(text.split())


# What stands on line 2 of a closed-book file, what the message calls it, and what it says is wanted.
BAD_ROWS = [
    (b"{id: 1}", "not JSON", "one object a line"),
    (b'{"id": "q2"', "not JSON", "one object a line"),
    (b"[1, 2]", "found '[1, 2]", "wanted a JSON object"),
    (b'"text"', "found", "wanted a JSON object"),
    (b"null", "found 'null", "wanted a JSON object"),
    (b"[" * 100_000, "not JSON", "one object a line"),
    (b'{"id": ' + b"1" * 5000 + b"}", "not JSON", "one object a line"),
    (b'{"id": "\xff"}', "byte 9 of the line is not UTF-8", "save the file as UTF-8"),
    (lines(without(CLOSED, "id")), "id: found nothing", "wanted a text"),
    (lines(CLOSED | {"id": " "}), "id: found ' '", "wanted a text"),
    (lines(CLOSED | {"id": True}), "id: found True", "wanted a text"),
    (lines(CLOSED | {"id": 1.5}), "id: found 1.5", "wanted a text"),
    (lines(CLOSED | {"id": ["q2"]}), "id: found ['q2']", "wanted a text"),
    (lines(without(CLOSED, "question")), "question: found nothing", "wanted a text"),
    (lines(CLOSED | {"question": ""}), "question: found ''", "wanted a text"),
    (lines(CLOSED | {"question": " \t\n"}), "question: found", "wanted a text"),
    (lines(CLOSED | {"question": 3}), "question: found 3", "wanted a text"),
    (lines(CLOSED | {"question": True}), "question: found True", "wanted a text"),
    (lines(CLOSED | {"question": None}), "question: found nothing", "wanted a text"),
    (lines(without(CLOSED, "answers")), "answers: found None", "wanted a list of texts"),
    (lines(CLOSED | {"answers": "four"}), "answers: found 'four'", "wanted a list of texts"),
    (lines(CLOSED | {"answers": [4]}), "answers: found [4]", "wanted a list of texts"),
    (lines(CLOSED | {"answers": ["four", " "]}), "answers: found", "wanted a list of texts"),
    (lines(CLOSED | {"answers": []}), "answers: empty", "at least one gold answer"),
    (lines(CLOSED | {"context": "There are four."}), "context: not allowed", "set type: open"),
    (lines(CLOSED | {"anwsers": []}), "unknown key 'anwsers'", "known keys: answers, context, id, question"),
    (lines(CLOSED), "id 'q1' stands on line 1 already", "an id of its own"),
    (lines(CLOSED | {"id": " q1 "}), "id 'q1' stands on line 1 already", "an id of its own"),
]


@pytest.mark.parametrize(
    ("line", "found", "wanted"), BAD_ROWS, ids=[f"{row[1]}-{n}" for n, row in enumerate(BAD_ROWS)]
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, line: bytes, found: str, wanted: str) -> None:
    spec = dataset(tmp_path, lines(CLOSED) + line)
    message = refusal(spec)
    assert message.startswith(f"{spec.path}:2: ")
    assert found in message
    assert wanted in message
    assert "\n" not in message


def test_an_id_and_a_number_that_read_the_same_are_one_id(tmp_path: Path) -> None:
    rows = lines(CLOSED | {"id": "7"}, CLOSED | {"id": 7})
    assert ":2: id '7' stands on line 1 already" in refusal(dataset(tmp_path, rows))


@pytest.mark.parametrize("context", [None, "", "  ", 5])
def test_an_open_item_needs_its_passage(tmp_path: Path, context: object) -> None:
    spec = dataset(tmp_path, lines(OPEN | {"context": context}), ItemType.OPEN)
    assert re.search(r":1: context: found .*, wanted a text", refusal(spec))


@pytest.mark.parametrize("content", [b"", b"\n\n", b" \n\t\n", b"\xef\xbb\xbf", b"\r\n"])
def test_a_file_without_items_is_refused(tmp_path: Path, content: bytes) -> None:
    spec = dataset(tmp_path, content)
    assert refusal(spec) == f"{spec.path}: no items in it; dataset 'facts' needs at least one"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    spec = DatasetSpec(name="facts", type=ItemType.CLOSED, path=tmp_path / "gone.jsonl")
    assert refusal(spec) == f"{tmp_path / 'gone.jsonl'}: no such file; dataset 'facts' names it"


def test_a_folder_is_no_file_of_items(tmp_path: Path) -> None:
    spec = DatasetSpec(name="facts", type=ItemType.CLOSED, path=tmp_path)
    assert "cannot be read" in refusal(spec)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    row = json.dumps(CLOSED | {"question": "Où est Zoë?"}, ensure_ascii=False)
    assert "not UTF-8" in refusal(dataset(tmp_path, row.encode(encoding)))


def test_a_bad_byte_far_into_the_file_is_named_by_its_line(tmp_path: Path) -> None:
    rows = lines(*(CLOSED | {"id": str(n)} for n in range(999)))
    assert ":1000: byte 1 of the line" in refusal(dataset(tmp_path, rows + b"\xff\n"))


@settings(max_examples=40)
@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_frozen_items_read_back(tmp_path_factory: pytest.TempPathFactory, question: str, answer: str) -> None:
    path = tmp_path_factory.getbasetemp() / "frozen.jsonl"
    item = Item(
        dataset="d", item_id="ü|1", type=ItemType.OPEN, question=question, answers=(answer,), context="c"
    )
    write_items(path, [item, item])
    assert load_items([path]) == [item, item]


@pytest.mark.parametrize("line", ["{}", "[]", "null", "{", '{"dataset": "d"}'])
def test_a_frozen_file_that_was_changed_is_refused_by_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "frozen.jsonl"
    item = Item(dataset="d", item_id="1", type=ItemType.CLOSED, question="q", answers=("a",))
    write_items(path, [item])
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"frozen\.jsonl:2: not a frozen item"):
        load_items([path])


def test_the_content_id_is_that_of_the_question_not_of_its_name() -> None:
    item = Item(dataset="d", item_id="1", type=ItemType.CLOSED, question="q", answers=("a",))
    renamed = Item(dataset="e", item_id="2", type=ItemType.CLOSED, question="q", answers=("a",))
    another = Item(dataset="d", item_id="1", type=ItemType.CLOSED, question="q", answers=("b",))
    assert content_id(item) == content_id(renamed) != content_id(another)


def frozen(make_spec: Any, spec: DatasetSpec, **fields: Any) -> Any:
    pinned = spec.model_copy(update={"sha256": spec.sha256 or file_digest(spec.path)})
    return prepare_items(make_spec(datasets=[pinned.model_dump()], **fields).experiment)


def test_items_are_frozen_once_for_the_same_file_limit_and_seed(tmp_path: Path, make_spec: Any) -> None:
    spec = dataset(tmp_path, lines(*(CLOSED | {"id": str(n)} for n in range(9))))
    first, again = frozen(make_spec, spec, limit_items=4), frozen(make_spec, spec, limit_items=4)
    assert (first.was_cached, again.was_cached) == (False, True)
    assert first.path == again.path
    assert len(load_items([first.path / "facts.jsonl"])) == 4


def test_another_limit_seed_or_file_is_frozen_anew(tmp_path: Path, make_spec: Any) -> None:
    spec = dataset(tmp_path, lines(*(CLOSED | {"id": str(n)} for n in range(9))))
    keys = {
        frozen(make_spec, spec, limit_items=4).key,
        frozen(make_spec, spec, limit_items=5).key,
        frozen(make_spec, spec, limit_items=4, sampling={"seed": 1}).key,
        frozen(make_spec, dataset(tmp_path, lines(CLOSED, CLOSED | {"id": "q2"})), limit_items=4).key,
    }
    assert len(keys) == 4


def test_a_file_that_is_not_the_one_of_its_digest_is_not_frozen(tmp_path: Path, make_spec: Any) -> None:
    # It would stand in the cache under the digest of other questions.
    spec = dataset(tmp_path, lines(CLOSED)).model_copy(update={"sha256": "0" * 64})
    with pytest.raises(UsageError, match=f"dataset facts: sha256: {'0' * 64} is wanted"):
        frozen(make_spec, spec)


def test_no_items_at_all_is_an_error_that_names_the_key(tmp_path: Path, make_spec: Any) -> None:
    with pytest.raises(UsageError, match=r"experiment\.limit_items: 0 leaves none of 1 items"):
        frozen(make_spec, dataset(tmp_path, lines(CLOSED)), limit_items=0)


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
