import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from overnight.cli import main
from overnight.errors import UsageError
from overnight.importing.decoded_tokens import pieces_of
from overnight.importing.generations import read_generations
from overnight.uncertainty.answer import count_tokens


def answer(response: str, tokens: list[str] | None, logs, accuracy=1.0, **more) -> dict:
    found = {"response": response, "token_log_likelihoods": logs, "accuracy": accuracy, **more}
    return found if tokens is None else {**found, "tokens": tokens, "token_ids": list(range(len(tokens)))}


def item(greedy: dict, responses: list | None = None, **more) -> dict:
    return {
        "question": "Where?",
        "context": None,
        "most_likely_answer": greedy,
        "reference": {"answers": {"text": ["Paris"], "answer_start": [0]}, "id": "x"},
        "responses": responses or [],
        **more,
    }


@pytest.fixture
def write(tmp_path: Path):
    def write(items: dict, name: str = "validation_generations.pkl") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(pickle.dumps(items))
        return path

    return write


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(["import", *argv])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def nlls(path: Path) -> list[tuple[float, ...]]:
    found = []
    for one in read_generations(path):
        assert one.greedy.generated
        found.append(count_tokens(one.greedy.generated).nlls())
    return found


def test_end_tokens_and_whitespace_do_not_count(write) -> None:
    # By hand: of these five tokens " Par" and "is" wrote the answer.
    path = write(
        {"a": item(answer("Paris", [" Par", "is", "\n", " ", "<|eot_id|>"], [-1.0, -2.0, -4.0, -8.0, -16.0]))}
    )
    assert nlls(path) == [(1.0, 2.0)]
    (one,) = read_generations(path)
    assert one.greedy.is_ended


def test_an_answer_without_an_end_token_does_not_say_how_it_ended(write) -> None:
    (one,) = read_generations(write({"a": item(answer("Paris", ["Paris"], [-1.0]))}))
    assert not one.greedy.is_ended


@pytest.mark.parametrize(
    ("accuracy", "right"),
    [(1.0, 1), (0.0, 0), (0.5, 0), (0.51, 1), (True, 1), (np.float32(1), 1), (np.array(0.0), 0)],
)
def test_the_label_is_the_stored_accuracy_above_one_half(write, accuracy, right: int) -> None:
    (one,) = read_generations(write({"a": item(answer("Paris", ["Paris"], [-1.0], accuracy))}))
    assert one.is_right.value == right


@pytest.mark.parametrize("accuracy", [None, float("nan"), "yes", [1.0], 10**400])
def test_an_accuracy_that_is_no_number_is_missing_with_a_reason(write, accuracy) -> None:
    (one,) = read_generations(write({"a": item(answer("Paris", ["Paris"], [-1.0], accuracy))}))
    assert one.is_right.value is None
    assert one.is_right.undefined_because


def test_numpy_log_likelihoods_are_read_and_a_nan_is_missing(write) -> None:
    path = write(
        {
            "a": item(answer("Paris", [" Par", "is"], np.array([-1.0, -2.0], dtype=np.float32))),
            "b": item(answer("Paris", [" Par", "is"], [np.float64(-1.0), float("nan")])),
        }
    )
    first, second = read_generations(path)
    assert count_tokens(first.greedy.generated).nlls() == (1.0, 2.0)
    assert [token.logprob for token in second.greedy.generated.tokens] == [-1.0, None]


def test_a_file_that_was_cut_off_anywhere_is_refused(write) -> None:
    path = write(made_up(2, np.random.default_rng(1)))
    whole = path.read_bytes()
    for n_bytes in range(0, len(whole), 11):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(UsageError, match="no pickle that can be read"):
            read_generations(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_gives_the_same_items(write, protocol: int) -> None:
    items = made_up(3, np.random.default_rng(1), with_draws=True)
    items["id0"]["most_likely_answer"]["token_log_likelihoods"] = np.array([-1.0, -2.0, -3.0])
    path = write(items)
    expected = read_generations(path)
    path.write_bytes(pickle.dumps(items, protocol=protocol))
    assert read_generations(path) == expected


def test_an_old_file_without_tokens_says_what_it_lacks(write) -> None:
    path = write({"a": item(answer("Paris", None, [-1.0, -2.0]))})
    (one,) = read_generations(path)
    assert one.greedy.generated is None
    assert "2 log-likelihoods and no tokens" in str(one.greedy.unknown_because)


@pytest.mark.parametrize(
    ("tokens", "text", "pieces"),
    [
        # Vocabularies that put the space at the beginning of a word lose it where a token is decoded alone.
        (["New", "York", "City"], "New York City", ["New", " York", " City"]),
        (["P", "aris", ",", "France"], "Paris, France", ["P", "aris", ",", " France"]),
        ([" New", " York"], "New York", [" New", " York"]),
        (["New", "York", "\n", "\n"], "New York", ["New", " York", "\n", "\n"]),
        (["New", "York."], "New Yo", ["New", " Yo"]),  # the text was cut inside the last one
    ],
)
def test_a_token_gets_its_space_back(tokens, text: str, pieces) -> None:
    assert pieces_of(tokens, text) == [piece.encode() for piece in pieces]


def test_tokens_that_share_a_character_share_its_bytes() -> None:
    # U+1F34E is four bytes; two tokens of it decode to U+FFFD each, the word behind has lost its space.
    pieces = pieces_of(["An", "\ufffd", "\ufffd", "pie"], "An \U0001f34e pie")
    assert b"".join(pieces).decode() == "An \U0001f34e pie"
    assert pieces[0] == b"An"
    assert pieces[-1] == b" pie"


def test_tokens_that_do_not_spell_the_text_are_left_as_they_are() -> None:
    assert pieces_of(["x", "y"], "New York") == [b"x", b"y"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1], "found list, wanted the items"),
        ({}, "found an empty dict, wanted the items"),
        ({"a": 1}, "'a': found int, wanted a dict"),
        ({"a": {"question": "q"}}, "most_likely_answer: found nothing"),
        ({"a": item(answer("x", ["x"], [-1.0]), question="")}, "question: found nothing"),
        ({"a": item({"response": "x"})}, "token_log_likelihoods: found nothing, wanted a list"),
        ({"a": item(answer("x", ["x"], ["-1"]))}, r"token_log_likelihoods\[0\]: found str"),
        ({"a": item(answer("x", [1], [-1.0]))}, "tokens: found something that is no text"),
        ({"1": item(answer("x", ["x"], [-1.0])), 1: item(answer("x", ["x"], [-1.0]))}, "stands twice"),
    ],
)
def test_a_file_of_something_else_is_refused_with_the_place(write, value, said: str) -> None:
    with pytest.raises(UsageError, match=rf"validation_generations\.pkl.*{said}"):
        read_generations(write(value))


def made_up(n: int, rng: np.random.Generator, *, with_draws: bool = False) -> dict:
    """Return items of which the wrong ones tend to be less likely."""
    items = {}
    for number in range(n):
        right = number % 3 > 0
        logs = list(-rng.exponential(0.3 if right else 0.8, 3))
        greedy = answer("New York City", ["New", " York", " City"], logs, float(right))
        draw = answer("Rome" if with_draws else greedy["response"], ["Rome"], [-1.5])
        items[f"id{number}"] = item(greedy, [draw] if with_draws or number == 0 else [])
    return items


def test_the_command_writes_a_table_and_the_auroc_that_scikit_learn_finds(write, tmp_path, capsys) -> None:
    items = made_up(60, np.random.default_rng(5))
    path, out = write(items), tmp_path / "out"
    assert run(str(path), "--out", str(out), "--task", "cities", "--resamples", "50", "--json") == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert (said["n_items"], said["n_right"], said["n_wrong"]) == (60, 40, 20)
    assert any("temperature 0" in note for note in said["notes"])

    with (out / "uncertainty.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["dataset", "item_key", "finish_reason", "n_tokens", "g_nll"]
    assert list(rows[0])[-1] == "label_stored"
    assert rows[0]["item_key"] == "cities|id0"
    for row, one in zip(rows, items.values(), strict=True):
        logs = one["most_likely_answer"]["token_log_likelihoods"]
        assert float(row["g_nll"]) == pytest.approx(-sum(logs))
        assert int(row["label_stored"]) == one["most_likely_answer"]["accuracy"]
        assert row["n_tokens"] == "3"
    expected = roc_auc_score(
        [1 - int(row["label_stored"]) for row in rows], [float(row["g_nll"]) for row in rows]
    )
    found = {one["measure"]: one["auroc"] for one in said["measures"]}
    assert found["g_nll"] == pytest.approx(expected)
    # Length alone tells nothing here, and says so; for the same reason the mean ranks as the sum does.
    assert found["n_tokens"] is None
    assert found["average_nll"] == pytest.approx(expected)

    columns = json.loads((out / "uncertainty_columns.json").read_text(encoding="utf-8"))["columns"]
    assert [one["name"] for one in columns][-2:] == ["n_tokens", "stored"]
    assert all(one["n_missing"] == 0 for one in columns)
    with (out / "auroc.csv").open(encoding="utf-8", newline="") as file:
        assert [row["measure"] for row in csv.DictReader(file)] == [
            row["measure"] for row in said["measures"]
        ]
    lines = (out / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["item_key"] for line in lines] == [row["item_key"] for row in rows]


def test_draws_of_both_shapes_give_the_measures_that_need_them(write, tmp_path) -> None:
    items = made_up(12, np.random.default_rng(5), with_draws=True)
    # The tuples of older files have no tokens.
    items["id3"]["responses"] = [("Rome", [-1.0], None, 1.0)]
    assert run("generations", str(write(items)), "--out", str(tmp_path / "out"), "--resamples", "10") == 0
    with (tmp_path / "out" / "uncertainty.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    values = [row["predictive_entropy"] for row in rows]
    assert values.pop(3) == ""
    assert set(values) == {"1.5"}


def test_several_files_go_to_a_folder_each(write, tmp_path) -> None:
    items = made_up(12, np.random.default_rng(1))
    paths = [str(write(items, f"{name}/validation_generations.pkl")) for name in ("one", "two")]
    assert run("generations", *paths, "--out", str(tmp_path / "out"), "--resamples", "10") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "one-validation_generations",
        "two-validation_generations",
    ]


def test_a_file_that_is_refused_leaves_nothing(tmp_path, capsys) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.")
    assert run(str(path), "--out", str(tmp_path / "out")) == 2
    assert "posix.system" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_of_comparisons_are_refused(write, tmp_path, capsys) -> None:
    path = str(write(made_up(3, np.random.default_rng(1))))
    assert run(path, "--out", str(tmp_path / "out"), "--metric", "em") == 2
    assert "--metric: is for comparisons" in capsys.readouterr().err
    assert run("lm-eval", "--out", str(tmp_path / "out")) == 2
    assert "no PATH" in capsys.readouterr().err
