import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from overnight.datasets.freezing import content_id, load_items, write_items
from overnight.datasets.reading import read_items, rows_digest
from overnight.errors import UsageError
from overnight.planning.identity import datasets_identity
from overnight.records import Item, ItemType
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.dataset import Columns, DatasetSpec
from overnight.spec.trait_capture import TraitCaptureSpec

ROOT = ConfigRoot(shipped_config())
Reader = Callable[..., list[Item]]
CHAT = [{"role": "user", "content": "Far?"}, {"role": "assistant", "content": "No.\nTen minutes."}]


def jsonl(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_paragraph_is_a_text_and_its_lines_are_joined(read: Reader) -> None:
    # A byte order mark and the line ends of another system are no part of a text.
    items = read("texts", "\ufeffOne\r\ntwo.\r\n\r\n \t\r\nThree.\r\n", name="a.txt")
    assert [item.question for item in items] == ["One two.", "Three."]
    assert not any(item.answers or item.turns for item in items)


def test_a_text_of_jsonl_keeps_its_lines(read: Reader) -> None:
    (item,) = read("texts", jsonl({"text": " One\n  two. "}), name="a.jsonl")
    assert item.question == "One\n  two."


def test_a_column_may_be_named_for_the_texts(read: Reader) -> None:
    (item,) = read(
        "texts", jsonl({"body": "One.", "nr": 7}), name="a.jsonl", columns={"text": "body", "id": "nr"}
    )
    assert (item.item_id, item.question) == ("7", "One.")


def test_a_text_that_stands_twice_is_one_item(read: Reader) -> None:
    # Its id is made of what it says, and ids are what vectors are found by.
    assert len(read("texts", "One.\n\nTwo.\n\nOne.\n", name="a.txt")) == 2


@pytest.mark.parametrize(
    ("form", "row", "said"),
    [
        ("texts", {"txt": "One."}, "a.jsonl:2: no key 'text'; did you mean 'txt'?"),
        ("texts", {"text": " "}, "a.jsonl:2: text: found ' ', wanted a text"),
        ("texts", {"text": ["One."]}, "a.jsonl:2: text: found ['One.'], wanted a text"),
        ("chats", {"message": CHAT}, "a.jsonl:2: no key 'messages'; did you mean 'message'?"),
        ("chats", {"messages": []}, "a.jsonl:2: messages: found [], wanted a list of messages"),
        ("chats", {"messages": "Far?"}, "a.jsonl:2: messages: found 'Far?', wanted a list of messages"),
        ("chats", {"messages": ["Far?"]}, "a.jsonl:2: messages[0]: found 'Far?', wanted a JSON object"),
        (
            "chats",
            {"messages": [*CHAT, {"role": "user"}]},
            "a.jsonl:2: messages[2]: no key 'content'; there are: role",
        ),
        (
            "chats",
            {"messages": [{"role": "human", "content": "Far?"}]},
            "a.jsonl:2: messages[0].role: found 'human', wanted one of system, user, assistant",
        ),
        (
            "chats",
            {"messages": [{"role": "user", "content": ""}]},
            "a.jsonl:2: messages[0].content: found '', wanted a text",
        ),
    ],
)
def test_a_row_that_is_none_is_said_with_its_line(
    refusal: Callable[..., str], form: str, row: dict[str, Any], said: str
) -> None:
    good = {"text": "One.", "messages": CHAT}
    assert refusal(form, jsonl(good, row), name="a.jsonl") == said


def test_an_empty_file_has_no_texts(refusal: Callable[..., str]) -> None:
    assert refusal("texts", "\n\n", name="a.txt") == "a.txt: no items in it; dataset 'd' needs at least one"


def test_turns_stay_as_they_are(read: Reader) -> None:
    (item,) = read("chats", jsonl({"messages": [m | {"name": "Mia"} for m in CHAT]}), name="a.jsonl")
    assert item.turns == (("user", "Far?"), ("assistant", "No.\nTen minutes."))
    assert item.question == "user: Far?\n\nassistant: No.\nTen minutes."


def test_conversations_that_read_alike_are_apart(read: Reader) -> None:
    # One turn may hold what looks like two.
    joined = [{"role": "user", "content": "Far?\n\nassistant: No.\nTen minutes."}]
    one, other = read("chats", jsonl({"messages": CHAT}, {"messages": joined}), name="a.jsonl")
    assert one.question == other.question
    assert one.item_id != other.item_id
    assert content_id(one) != content_id(other)


def test_the_digest_of_rows_knows_who_says_what(write: Callable[..., DatasetSpec]) -> None:
    joined = [{"role": "user", "content": "Far?\n\nassistant: No.\nTen minutes."}]
    row = {"id": "t1", "messages": CHAT}
    digest = rows_digest(write("chats", jsonl(row), name="a.jsonl"))
    assert digest != rows_digest(write("chats", jsonl(row | {"messages": joined}), name="a.jsonl"))


def test_frozen_conversations_read_back_and_other_items_are_as_they_were(tmp_path: Path) -> None:
    plain = Item(dataset="d", item_id="1", type=ItemType.CLOSED, question="q", answers=("a",))
    chat = Item(
        dataset="d", item_id="2", type=ItemType.CLOSED, question="q", answers=(), turns=(("user", "Far?"),)
    )
    path = tmp_path / "d.jsonl"
    write_items(path, [plain, chat])
    assert load_items([path]) == [plain, chat]
    # The rows of old, key by key: runs that were frozen before have them, and go on.
    first, second = path.read_text(encoding="utf-8").splitlines()
    assert list(json.loads(first)) == [
        *("dataset", "item_id", "content_id", "type", "question", "context"),
        *("answers", "wrong_answers", "rule", "is_unanswerable"),
    ]
    assert json.loads(second)["turns"] == [{"role": "user", "content": "Far?"}]


def test_columns_of_texts_are_no_part_of_the_identity_of_a_table(make_spec: Any) -> None:
    # Trials of tables keep the fingerprints that they had before there were texts.
    spec = DatasetSpec(name="d", format="csv", path="d.csv", columns=Columns(id="key"), sha256="0" * 64)
    (found,) = datasets_identity(make_spec(datasets=[spec.model_dump()]).experiment)["datasets"].values()
    assert list(found["columns"]) == [
        *("id", "question", "answers", "context", "wrong_answers", "separator", "delimiter")
    ]


@pytest.mark.parametrize(
    ("form", "columns", "strange"),
    [
        ("csv", {"text": "body"}, "text"),
        ("texts", {"question": "q"}, "question"),
        ("chats", {"text": "t"}, "text"),
    ],
)
def test_a_column_that_the_format_does_not_have_is_refused(
    form: str, columns: dict[str, str], strange: str
) -> None:
    with pytest.raises(ValidationError, match=f"format {form} has no '{strange}'"):
        DatasetSpec(name="d", format=form, path="d.jsonl", columns=columns)


@pytest.mark.parametrize("name", ["starter_texts", "starter_chats", "uncertainty_prompts"])
def test_what_has_no_right_answers_is_no_dataset_of_a_prompt_sweep(make_spec: Any, name: str) -> None:
    with pytest.raises(UsageError, match=f"dataset {name}: format .* has no right answers"):
        resolve(make_spec(datasets=[name]), ROOT)


def test_conversations_are_no_prompts_of_a_capture() -> None:
    sweep = TraitCaptureSpec.model_validate(
        {
            "name": "s",
            "experiment": {
                "models": ["smollm2-135m-instruct-fp32"],
                "traits": ["certainty"],
                "datasets": ["starter_chats"],
                "dry_run": True,
            },
        }
    )
    with pytest.raises(UsageError, match="format chats has whole conversations"):
        resolve(sweep, ROOT)


def test_the_shipped_texts_are_as_many_and_as_long_as_they_say() -> None:
    texts = {name: read_items(ROOT.dataset(name)) for name in ("starter_texts", "starter_texts_fit")}
    assert [len(items) for items in texts.values()] == [60, 140]
    words = [len(item.question.split()) for items in texts.values() for item in items]
    assert min(words) >= 60
    assert max(words) <= 120


def test_no_text_that_lenses_are_fitted_on_is_swept() -> None:
    swept, fitted = (
        {item.item_id for item in read_items(ROOT.dataset(name))}
        for name in ("starter_texts", "starter_texts_fit")
    )
    assert not swept & fitted


def test_each_shipped_conversation_has_all_three_roles() -> None:
    chats = read_items(ROOT.dataset("starter_chats"))
    assert len(chats) == 16
    assert all({role for role, _ in item.turns} == {"system", "user", "assistant"} for item in chats)
