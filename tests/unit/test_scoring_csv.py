import csv
import json
import random
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from overnight.cli import main
from overnight.datasets.freezing import write_items
from overnight.errors import UsageError
from overnight.planning.plan import make_plan
from overnight.records import AnswerRule, Condition, Item
from overnight.runs.parsing import planned_draws
from overnight.runs.scoring import write_scores
from overnight.runs.scoring_csv import ScoreSummary, score_csv
from overnight.runs.tables import PREDICTION_COLUMNS, read_scores
from overnight.scoring.support import UnsupportedRule
from overnight.spec.prompt_sweep import PromptSweepSpec, UnsupportedSpec
from overnight.store.files import read_json
from overnight.store.run_folder import TrialFolder

RULE = UnsupportedRule()
OPEN = [
    {
        "dataset": "squad_v2",
        "id": f"s{n}",
        "context": "The fox ran home to Paris.",
        "question": "Where?",
        "answers": [] if n else ["Paris"],
        "is_unanswerable": bool(n),
    }
    for n in range(2)
]
CLOSED = [
    {"dataset": "triviaqa", "id": "t0", "question": "Which city?", "answers": ["New-York"]},
    {"dataset": "nq_open", "id": "n0", "question": "Which?", "answers": ["New-York"]},
    {"dataset": "nq_open", "id": "n1", "question": "Which?", "answers": []},
]
Row = list[str]
HEAD = ["custom_id", "finish_reason", "response_text"]
ROWS = [
    ["squad_v2|s0|control|0.0|0|open", "stop", "Paris"],
    ["squad_v2|s1|control|0.0|0|open", "length", "I don't know."],
    ["squad_v2|s1|treatment|0.0|0|open", "stop", ""],
    ["triviaqa|t0|control|0.7|0|closed", "stop", "New York"],
    ["triviaqa|t0|control|0.7|1|closed", "stop", "Boston"],
    ["nq_open|n0|control|0.0|0|closed", "stop", "New York"],
    ["nq_open|n1|control|0.0|0|closed", "stop", "New York"],
    ["nq_open|n0|treatment|0.0|0|closed", "error", ""],
]


def write_csv(path: Path, rows: Iterable[Row], head: Row = HEAD) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        table.writerows(rows)
    return path


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Return a folder as the scripts of old prepared it."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    for name, rows in (("open_book", OPEN), ("closed_book", CLOSED)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def score(tmp_path: Path, prepared: Path) -> Callable[..., ScoreSummary]:
    """Return a function that scores rows into ``out``."""

    def run(rows: Iterable[Row] = ROWS, head: Row = HEAD) -> ScoreSummary:
        return score_csv(write_csv(tmp_path / "p.csv", rows, head), prepared, tmp_path / "out", rule=RULE)

    return run


def scores(tmp_path: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    rows = read_scores(tmp_path / "out" / "per_item_scores.csv")
    return {(row["item_key"], row["condition"], row["temp"]): row for row in rows}


def test_each_item_is_scored_by_the_rule_of_its_dataset(
    score: Callable[..., ScoreSummary], tmp_path: Path
) -> None:
    score()
    found = scores(tmp_path)
    assert found["squad_v2|s0", "control", "0.0"]["em"] == "1.0"
    assert found["squad_v2|s1", "control", "0.0"]["em"] == "1.0"
    assert found["triviaqa|t0", "control", "0.7"]["em"] == "0.5"  # two draws, of which one is right
    assert found["nq_open|n0", "control", "0.0"]["em"] == "0.0"  # the SQuAD rule makes "newyork" of the gold
    without_gold = found["nq_open|n1", "control", "0.0"]
    assert (without_gold["em"], without_gold["answerable"]) == ("", "")
    assert found["squad_v2|s1", "control", "0.0"]["truncated_rate"] == "1.0"
    assert ("nq_open|n0", "treatment", "0.0") not in found  # a failed request is no wrong answer


def test_every_row_is_accounted_for(score: Callable[..., ScoreSummary], tmp_path: Path) -> None:
    first, answer = ROWS[0], ROWS[3]
    summary = score(
        [
            *ROWS,
            first,  # the same once more
            [answer[0], "error", ""],  # a failure before the answer
            ["triviaqa|gone|control|0.7|0|closed", "stop", "x"],
            ["triviaqa|t0|control|0.7|0|open", "stop", "x"],  # not how that item is asked
        ]
    )
    assert (summary.rows_in, summary.rows_scored, summary.rows_error) == (12, 7, 1)
    assert (summary.rows_unknown, summary.rows_repeated, summary.rows_superseded) == (2, 1, 1)
    assert summary.unknown_examples[0] == "triviaqa|gone|control|0.7|0|closed"
    assert (summary.items, summary.items_without_prediction, summary.items_without_gold) == (5, 0, 1)
    record = read_json(tmp_path / "out" / "score_summary.json")
    counted = ("scored", "error", "unknown", "repeated", "superseded")
    assert record["rows_in"] == sum(record[f"rows_{name}"] for name in counted)
    assert record["scores_written"] == summary.scores_written == len(scores(tmp_path)) == 6


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_rows_does_not_matter(
    score: Callable[..., ScoreSummary], tmp_path: Path, seed: int
) -> None:
    def files() -> list[bytes]:
        return [(tmp_path / "out" / name).read_bytes() for name in ("per_item_scores.csv", "squad.json")]

    rows = [*ROWS, [ROWS[0][0], "error", ""], ROWS[1]]
    summary, in_order = score(rows), files()
    random.Random(seed).shuffle(rows)
    assert score(rows) == summary
    assert files() == in_order


def test_a_run_scored_from_outside_has_the_scores_of_the_run(
    tmp_path: Path, make_spec: Callable[..., PromptSweepSpec], items: list[Item]
) -> None:
    spec = make_spec(sweep={"temps": [0, 0.7]}, sampling={"samples_per_item": 2})
    plan = make_plan(spec, items)
    (trial,) = plan.trials
    folder = TrialFolder(tmp_path / "run" / trial.slug)
    folder.results.mkdir(parents=True)
    replies = ["Ada", "I don't know.", "Bert, of the sea", "", "1"]
    rows = []
    for n, (name, item, arm, index) in enumerate(planned_draws(plan, trial)):
        same = [item.dataset, item.item_id, arm.condition, repr(arm.temperature), index, item.type]
        rows.append([name, *same, "q", "stop" if n % 7 else "error", replies[n % 5], 1, 1, 2, -n / 100])
    write_csv(folder.predictions, rows, list(PREDICTION_COLUMNS))
    write_scores(folder, plan, trial, UnsupportedSpec())
    for dataset in ("facts", "passages"):
        write_items(
            tmp_path / "run" / "items" / f"{dataset}.jsonl", [i for i in items if i.dataset == dataset]
        )
    random.Random(1).shuffle(rows)
    table = write_csv(tmp_path / "shuffled.csv", rows, list(PREDICTION_COLUMNS))
    score_csv(table, tmp_path / "run", tmp_path / "out", rule=RULE)
    assert (tmp_path / "out" / "per_item_scores.csv").read_bytes() == folder.scores.read_bytes()
    assert (tmp_path / "out" / "squad.json").read_bytes() == folder.squad.read_bytes()


def test_the_frozen_items_of_a_run_keep_their_rule(tmp_path: Path, items: list[Item]) -> None:

    (tmp_path / "items").mkdir()
    write_items(tmp_path / "items" / "facts.jsonl", [replace(items[1], rule=AnswerRule.NUMERIC)])
    table = write_csv(tmp_path / "p.csv", [["facts|c1|control|0.0|0|closed", "stop", "It is $1.00 in all"]])
    score_csv(table, tmp_path, tmp_path / "out", rule=RULE)
    assert scores(tmp_path)["facts|c1", "control", "0.0"]["em"] == "1.0"


def test_rouge_is_computed_where_it_is_asked_for(tmp_path: Path, prepared: Path) -> None:
    row = CLOSED[1] | {"id": "n2", "answers": ["the city of York"], "wrong_answers": ["the city of Rome"]}
    (prepared / "closed_book.jsonl").write_text(json.dumps(row) + "\n")
    table = write_csv(tmp_path / "p.csv", [["nq_open|n2|control|0.0|0|closed", "stop", "city of York"]])
    score_csv(table, prepared, tmp_path / "out", rule=RULE, with_rouge=True)
    found = scores(tmp_path)["nq_open|n2", "control", "0.0"]
    # Three words in order, all of the reply and 3 of 4 of the gold: F = 2 * 1 * .75 / 1.75.
    assert float(found["rouge_l"]) == pytest.approx(6 / 7)
    assert found["rouge_accuracy"] == "1.0"


def test_two_columns_are_enough(score: Callable[..., ScoreSummary], tmp_path: Path) -> None:
    score([[text, name] for name, _, text in ROWS], ["response_text", "custom_id"])
    row = scores(tmp_path)["squad_v2|s1", "control", "0.0"]
    assert (row["em"], row["truncated_rate"], row["confidence"]) == ("1.0", "", "")  # not said is not zero


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(
    score: Callable[..., ScoreSummary], tmp_path: Path, prepared: Path
) -> None:
    expected = score()
    table = tmp_path / "p.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes() + b"\r\n")
    for path in prepared.glob("*.jsonl"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert score_csv(table, prepared, tmp_path / "out", rule=RULE) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"p\.csv:1: no column 'custom_id'; found an empty file"),
        ("custom-id,response_text\n", r"no column 'custom_id'; rename 'custom-id'\?"),
        ("custom_id,response\n", r"no column 'response_text'; rename 'response'\?"),
        ("custom_id,custom_id,response_text\n", "column 'custom_id' stands twice"),
        ("custom_id,response_text\n", "it has no rows"),
        ("custom_id,response_text\nnq_open|n0|control|0.0|0|closed\n", r"p\.csv:2: 1 fields, 2 wanted"),
        ('custom_id,response_text\nnq_open|n0|control|0.0|0|closed,"New\n', r"p\.csv:2: not CSV"),
        ("custom_id,response_text\nnq_open|n0|control|0.0|closed,x\n", "5 fields, 6 wanted"),
        ("custom_id,response_text\nnq_open|n0|control|warm|0|closed,x\n", "'warm'"),
        ("custom_id,response_text\nnq_open|n0|control|nan|0|closed,x\n", "temperature nan, wanted 0 or more"),
        ("custom_id,response_text\nnq_open|n0|control|-1|0|closed,x\n", "temperature -1.0, wanted 0 or more"),
        ("custom_id,response_text\nnq_open|n0|control|0|-1|closed,x\n", "sample index -1"),
        ("custom_id,response_text\nnq_open|n0|placebo|0|0|closed,x\n", "'placebo'"),
        ("custom_id,response_text\nnq_open|n0|control|0|0|ajar,x\n", "'ajar'"),
        (
            "custom_id,response_text\na|b|control|0|0|open,x\n",
            r"none of its 1 rows is of an item .*a\|b\|control",
        ),
        (
            "custom_id,response_text,condition\nnq_open|n0|control|0|0|closed,x,treatment\n",
            "condition is 'treatment' and custom_id says 'control'",
        ),
        (
            "custom_id,response_text,mean_logprob\nnq_open|n0|control|0|0|closed,x,0.5\n",
            "mean_logprob '0.5', wanted a logarithm",
        ),
    ],
)
def test_what_is_not_a_table_of_predictions_is_refused_in_one_line(
    tmp_path: Path, prepared: Path, text: str, message: str
) -> None:
    table = tmp_path / "p.csv"
    table.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        score_csv(table, prepared, tmp_path / "out", rule=RULE)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "per_item_scores.csv").exists()


def test_a_table_in_another_encoding_is_refused(tmp_path: Path, prepared: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_bytes("custom_id,response_text\nnq_open|n0|control|0|0|closed,Zürich\n".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        score_csv(table, prepared, tmp_path / "out", rule=RULE)


def test_two_replies_of_one_draw_are_refused_with_both_lines(score: Callable[..., ScoreSummary]) -> None:
    # The custom ids of two runs of one experiment are the same; only one of them can be scored at a time.
    with pytest.raises(UsageError, match=r"p\.csv:10: .*stands on line 2 with another reply"):
        score([*ROWS, [ROWS[0][0], "stop", "Rome"]])


def test_one_temperature_is_one_arm_however_it_is_written(score: Callable[..., ScoreSummary]) -> None:
    assert score([*ROWS, ["squad_v2|s0|control|0|0|open", "stop", "Paris"]]).rows_repeated == 1


def test_a_last_line_that_is_not_ended_is_scored_and_said(
    tmp_path: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_csv(tmp_path / "p.csv", ROWS)
    table.write_bytes(table.read_bytes() + b"nq_open|n1|treatment|0.0|0|closed,stop,New Yo")
    summary = score_csv(table, prepared, tmp_path / "out", rule=RULE)
    assert (summary.rows_in, summary.last_line_is_ended) == (9, False)
    assert call(table, prepared, tmp_path / "out") == 0
    assert "the last line is not ended" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("open_book.jsonl", '{"dataset": "squad_v2", "id": "x", "question": "?"}', "context: found None"),
        ("open_book.jsonl", json.dumps(OPEN[0]), r"item squad_v2\|s0 stands in .*open_book\.jsonl:1 already"),
        ("closed_book.jsonl", '{"dataset": "nq_open", "id": "x", "quest', "wanted a JSON object"),
        (
            "closed_book.jsonl",
            '{"dataset": "d", "id": "x", "question": "?", "answers": "a"}',
            "list of texts",
        ),
        ("closed_book.jsonl", '{"dataset": "d", "question": "?", "answers": []}', "id: found None"),
        ("closed_book.jsonl", '{"dataset": "d", "id": 1, "question": "?", "rule": "vibes"}', "'vibes'"),
    ],
)
def test_what_is_no_prepared_item_is_refused_with_its_line(
    score: Callable[..., ScoreSummary], prepared: Path, name: str, line: str, message: str
) -> None:
    path = prepared / name
    n_lines = len(path.read_text().splitlines())
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UsageError, match=rf"{name}:{n_lines + 1}: .*{message}"):
        score()


def test_a_folder_without_items_is_refused(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "p.csv", ROWS)
    with pytest.raises(UsageError, match="no items here"):
        score_csv(table, tmp_path / "nowhere", tmp_path / "out", rule=RULE)


def call(*arguments: Any) -> int | str | None:
    """Run ``overnight score`` as a user's script has it and return its exit code."""
    table, prepared, out, *rest = arguments
    with pytest.raises(SystemExit) as left:
        main(
            ["score", "--pred_csv", f"{table}", "--prepared_dir", f"{prepared}", "--out_dir", f"{out}", *rest]
        )
    return left.value.code


def test_the_command_says_what_became_of_the_rows(
    tmp_path: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = write_csv(tmp_path / "p.csv", ROWS), tmp_path / "out"
    assert call(table, prepared, out) == 0
    assert "rows: 8 in, 7 scored, 1 failed requests (not scored)" in capsys.readouterr().out
    assert call(table, prepared, out, "--json", "--strategy", "baseline") == 0
    assert json.loads(capsys.readouterr().out)["rows_in"] == 8
    assert {path.name for path in out.iterdir()} == {
        "per_item_scores.csv",
        "squad.json",
        "score_summary.json",
    }


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--strategy", "nli", "strategy 'nli'"), ("--min-token-overlap", "0", "min_token_overlap is 0.0")],
)
def test_the_command_refuses_a_rule_that_cannot_be_applied(
    tmp_path: Path, prepared: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    table = write_csv(tmp_path / "p.csv", ROWS)
    assert call(table, prepared, tmp_path / "out", option, value) == 2
    assert message in capsys.readouterr().err


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, prepared: Path) -> None:
    # Replies of 4 kB: were they kept, eight times the rows would take eight times the memory.
    def peak(n_draws: int) -> int:
        names = [
            f"nq_open|n0|{arm.value}|{t}|{d}|closed"
            for t in (0.1, 0.2)
            for d in range(n_draws)
            for arm in Condition
        ]
        random.Random(0).shuffle(names)
        table = write_csv(tmp_path / "p.csv", ([name, "stop", f"x{n}" * 800] for n, name in enumerate(names)))
        tracemalloc.start()
        score_csv(table, prepared, tmp_path / "out", rule=RULE)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # caches of modules fill once
    assert peak(40) < 2 * peak(5)
