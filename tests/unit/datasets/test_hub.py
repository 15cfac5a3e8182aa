import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from overnight.datasets.freezing import load_items, prepare_items
from overnight.datasets.reading import read_items, rows_digest
from overnight.errors import UsageError
from overnight.records import AnswerRule, Item, ItemType
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.dataset import DatasetSpec
from overnight.spec.hub import HubSource

# The columns of each repository as its card gives them.
SQUAD_V2 = [
    {
        "id": "56",
        "title": "Ferry",
        "context": "The ferry leaves at nine.",
        "question": "When does it leave?",
        "answers": {"text": ["at nine", "nine", "nine"], "answer_start": [17, 20, 20]},
    },
    {
        "id": "57",
        "title": "Ferry",
        "context": "The ferry leaves at nine.",
        "question": "Who steers it?",
        "answers": {"text": [], "answer_start": []},
    },
]
TRIVIA_QA = [
    {
        "question": "Which river runs through Riverton?",
        "question_id": "tc_9",
        "question_source": "",
        "entity_pages": {"doc_source": [], "filename": [], "title": [], "wiki_context": []},
        "search_results": {"description": [], "filename": [], "rank": [], "title": [], "url": []},
        "answer": {
            "aliases": ["The Blue", "Blue River"],
            "normalized_aliases": ["blue", "blue river"],
            "matched_wiki_entity_name": "",
            "normalized_matched_wiki_entity_name": "",
            "normalized_value": "blue",
            "type": "WikipediaEntity",
            "value": "The Blue",
        },
    }
]
NQ_OPEN = [{"question": "who keeps the lighthouse", "answer": ["Mr Hale", "Hale"]}]
SVAMP = [
    {
        "ID": "chal-1",
        "Body": "Mia has 7 shells.",
        "Question": "How many?",
        "Equation": "7",
        "Answer": "7.0",
        "Type": "x",
    }
]
TRUTHFUL_QA = [
    {
        "type": "Adversarial",
        "category": "Animals",
        "question": "Do owls sleep at night?",
        "best_answer": "Most owls sleep by day",
        "correct_answers": ["Most owls sleep by day"],
        "incorrect_answers": ["Yes"],
        "source": "",
    }
]
HUB = {
    ("squad_v2", None): SQUAD_V2,
    ("trivia_qa", "rc.nocontext"): TRIVIA_QA,
    ("nq_open", None): NQ_OPEN,
    ("ChilleD/SVAMP", None): SVAMP,
    ("truthful_qa", "generation"): TRUTHFUL_QA,
}


class Rows(list[dict[str, Any]]):
    """A split: it can be iterated, and knows how many rows it has."""

    @property
    def num_rows(self) -> int:
        return len(self)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put a package ``datasets`` in place that serves ``HUB``, and return what it was asked for."""
    asked: list[Any] = []

    def load_dataset(path: str, name: str | None = None, *, split: str, **more: Any) -> Rows:
        asked.append((path, name, split, more))
        if (path, name) not in HUB:
            raise FileNotFoundError(f"Dataset '{path}' doesn't exist on the Hub\nor cannot be accessed.")
        return Rows(HUB[path, name])

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return asked


def only(address: str) -> Item:
    (item, *_) = read_items(DatasetSpec.model_validate(address))
    return item


@pytest.mark.parametrize(
    ("address", "asked", "item"),
    [
        (
            "hf:squad_v2",
            ("squad_v2", None, "validation", {}),
            Item(
                dataset="squad_v2",
                item_id="56",
                type=ItemType.OPEN,
                question="When does it leave?",
                answers=("at nine", "nine"),
                context="The ferry leaves at nine.",
            ),
        ),
        (
            "hf:trivia_qa/rc.nocontext",
            ("trivia_qa", "rc.nocontext", "validation", {}),
            Item(
                dataset="trivia_qa",
                item_id="tc_9",
                type=ItemType.CLOSED,
                question="Which river runs through Riverton?",
                answers=("Blue River", "The Blue"),
                rule=AnswerRule.TRIVIAQA,
            ),
        ),
        (
            "hf:ChilleD/SVAMP",
            ("ChilleD/SVAMP", None, "test", {}),
            Item(
                dataset="SVAMP",
                item_id="chal-1",
                type=ItemType.CLOSED,
                question="Mia has 7 shells. How many?",
                answers=("7",),
                rule=AnswerRule.NUMERIC,
            ),
        ),
    ],
)
def test_an_address_is_enough_for_a_public_dataset(
    calls: list[Any], address: str, asked: Any, item: Item
) -> None:
    assert only(address) == item
    assert calls == [asked]


@pytest.mark.parametrize(
    ("form", "columns", "question", "turns"),
    [
        ("texts", {"text": "body"}, "One.\n\nTwo.", ()),
        ("chats", {"messages": "talk"}, "user: Far?", (("user", "Far?"),)),
    ],
)
def test_texts_and_conversations_come_from_the_hub(
    monkeypatch: pytest.MonkeyPatch, form: str, columns: dict[str, str], question: str, turns: Any
) -> None:
    rows = [{"body": " One.\n\nTwo.\n", "talk": [{"role": "user", "content": "Far?"}]}]
    loader = SimpleNamespace(load_dataset=lambda *_, **__: Rows(rows))
    monkeypatch.setitem(sys.modules, "datasets", loader)
    spec = DatasetSpec.model_validate({"hub": "hf:someone/own", "format": form, "columns": columns})
    (item,) = read_items(spec)
    assert (item.question, item.turns) == (question, turns)


def test_the_hub_and_the_official_file_give_the_same_item(calls: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "nq.jsonl"
    path.write_text('{"question": "who keeps the lighthouse", "answer": ["Mr Hale", "Hale"]}\n')
    assert read_items(DatasetSpec(name="nq_open", format="nq_open", path=path)) == [only("hf:nq_open")]
    assert only("hf:truthful_qa").wrong_answers == ("Yes",)


@pytest.mark.parametrize(
    ("address", "hub"),
    [
        ("hf:squad_v2", HubSource(repo="squad_v2")),
        ("hf:rajpurkar/squad_v2:train", HubSource(repo="rajpurkar/squad_v2", split="train")),
        ("hf:trivia_qa", HubSource(repo="trivia_qa", config="rc.nocontext")),
        ("hf:mandarjoshi/trivia_qa/rc", HubSource(repo="mandarjoshi/trivia_qa", config="rc")),
        ("hf:someone/own:dev@v1.2", HubSource(repo="someone/own", split="dev", revision="v1.2")),
        ("hf:someone/own/part", HubSource(repo="someone/own", config="part")),
    ],
)
def test_an_address_names_repository_configuration_split_and_revision(address: str, hub: HubSource) -> None:
    assert HubSource.parse(address) == hub
    assert HubSource.parse(hub.address) == hub


@pytest.mark.parametrize(
    "address", ["hf:", "hf:/x", "hf:a//b", "hf:a/b/c/d", "hf:squad_v2/a/b", "hf:a b", "squad"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="found "):
        HubSource.parse(address)


def test_a_repository_that_nobody_knows_needs_its_format(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="cannot be read as format items; set format: jsonl with columns"):
        DatasetSpec.model_validate("hf:someone/own")
    monkeypatch.setitem(HUB, ("someone/own", None), [{"q": "Who rows?", "gold": ["Ann"]}])
    spec = DatasetSpec(
        name="own", hub="hf:someone/own", format="jsonl", columns={"question": "q", "answers": "gold"}
    )
    (item,) = read_items(spec)
    assert (item.question, item.answers) == ("Who rows?", ("Ann",))


def refusal(address: str) -> str:
    with pytest.raises(UsageError) as caught:
        only(address)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# None: not found. A folder of that name in the working directory is found, as a package with nothing in it.
@pytest.mark.parametrize("package", [None, SimpleNamespace()])
def test_without_the_package_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, package: object
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", package)
    said = refusal("hf:squad_v2")
    assert said.startswith("hf:squad_v2:validation: reading from the hub needs the package datasets")
    assert "pip install 'overnight[hub]'" in said


def test_what_the_package_cannot_load_is_said_in_one_line(calls: list[Any]) -> None:
    assert refusal("hf:trivia_qa/rd") == (
        "hf:trivia_qa/rd:validation: cannot be loaded (FileNotFoundError: Dataset 'trivia_qa' doesn't exist on the "
        "Hub); check the name, the configuration and the network, or give the path of a file"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q"}, "row 1: no key 'answer'; there are: question"),
        ({"question": "q", "answer": "x"}, "row 1: answer: found 'x', wanted a list of texts"),
        (
            {"question": "q", "answer": []},
            "row 1: answers: empty; a closed-book item needs at least one gold answer",
        ),
    ],
)
def test_a_row_of_the_hub_is_named_by_its_number(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch, row: dict[str, Any], message: str
) -> None:
    monkeypatch.setitem(HUB, ("nq_open", None), [*NQ_OPEN, row])
    assert refusal("hf:nq_open") == f"hf:nq_open:validation: {message}"


def test_rows_that_go_missing_are_noticed(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rows, "num_rows", 3)
    assert refusal("hf:nq_open") == "hf:nq_open:validation: 1 rows came, the split has 3; load it again"


@pytest.fixture
def resolved(calls: list[Any], make_spec: Callable[..., Any]) -> Callable[..., Any]:
    """Return a resolver of a sweep over datasets, with the shipped configuration."""
    return lambda *datasets: resolve(make_spec(datasets=datasets), ConfigRoot(shipped_config()))


def test_the_rows_are_part_of_what_the_experiment_is(
    resolved: Callable[..., Any], calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = resolved("hf:nq_open")
    (spec,) = one.experiment.datasets
    assert spec.sha256 == rows_digest(spec)
    calls.clear()
    assert resolve(one, ConfigRoot(shipped_config())) == one
    assert calls == []  # a resolved sweep asks nobody
    monkeypatch.setitem(HUB, ("nq_open", None), [{"question": "who", "answer": ["she"]}])
    assert resolved("hf:nq_open").experiment.datasets[0].sha256 != spec.sha256


def test_rows_that_have_changed_since_are_not_frozen(
    resolved: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = resolved("hf:nq_open")
    entry = prepare_items(sweep.experiment)
    assert [item.answers for item in load_items([entry.path / "nq_open.jsonl"])] == [("Mr Hale", "Hale")]
    changed = sweep.experiment.model_copy(update={"limit_items": 1})
    monkeypatch.setitem(HUB, ("nq_open", None), [{"question": "who", "answer": ["she"]}])
    with pytest.raises(UsageError, match=r"sha256: \w+ is wanted, the rows of hf:nq_open:validation have"):
        prepare_items(changed)


@pytest.mark.parametrize("name", ["squad_v2", "triviaqa", "nq_open", "svamp", "truthfulqa"])
def test_every_shipped_public_dataset_resolves_and_freezes(resolved: Callable[..., Any], name: str) -> None:
    sweep = resolved(name)
    entry = prepare_items(sweep.experiment)
    assert load_items([entry.path / f"{name}.jsonl"])


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Return the package itself, kept off the network, with a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf" / "datasets")
    datasets.disable_progress_bars()
    return datasets


@pytest.mark.parametrize(
    ("rows", "form", "split"),
    [
        (SQUAD_V2, "squad", "validation"),
        (TRIVIA_QA, "triviaqa", "validation"),
        (NQ_OPEN, "nq_open", "train"),
        (SVAMP, "svamp", "test"),
        (TRUTHFUL_QA, "truthfulqa", "validation"),
    ],
)
@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_the_package_itself_gives_the_same_items(
    real: Any,
    tmp_path: Path,
    rows: list[dict[str, Any]],
    form: str,
    split: str,
    kind: str,
    request: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As the hub has them: a folder with one file a split, whose types the package infers.
    folder = tmp_path / "repository"
    folder.mkdir()
    whole = real.Dataset.from_list(rows)
    getattr(whole, f"to_{kind}")(folder / f"{split}-00000-of-00001.{kind}")
    spec = DatasetSpec(name="d", format=form, hub=HubSource(repo=str(folder), split=split))
    found = read_items(spec)
    request.getfixturevalue("calls")  # from here on, the stand-in
    monkeypatch.setitem(HUB, (str(folder), None), rows)
    assert found == read_items(spec)
    assert len(found) == len(rows)


def test_a_folder_without_such_a_split_is_said_in_one_line(real: Any, tmp_path: Path) -> None:
    spec = DatasetSpec(name="d", format="nq_open", hub=HubSource(repo=str(tmp_path / "nowhere"), split="dev"))
    with pytest.raises(UsageError, match="cannot be loaded"):
        read_items(spec)
