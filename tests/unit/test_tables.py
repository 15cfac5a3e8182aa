import csv
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.errors import StoreError
from overnight.planning.plan import Plan, make_plan, restricted
from overnight.planning.requests import part_requests
from overnight.planning.trial import Trial
from overnight.records import Item
from overnight.runs.costing import write_costs
from overnight.runs.parsing import write_predictions
from overnight.runs.scoring import write_scores
from overnight.runs.tables import PREDICTION_COLUMNS, SCORE_COLUMNS, read_predictions, read_scores
from overnight.spec.pricing import PricingSpec
from overnight.spec.prompt_sweep import PromptSweepSpec, ScoringSpec, UnsupportedSpec
from overnight.store.files import read_json
from overnight.store.journal import Journal, read_rows
from overnight.store.run_folder import TrialFolder

Row = dict[str, Any]
RULE = UnsupportedSpec()
HOSTILE = {
    "empty": "",
    "control": "".join(map(chr, range(1, 32))) + "\x7f\x85",
    "nul": "a\0b",
    "carriage return": "a\rb",
    "windows": "a\r\nb\r\n",
    "only line ends": "\n\r\n\r",
    "separators": "a\u2028b\u2029c\x1cd",
    "quotes": '"He said ""no""", and \'left\'"',
    "commas": ",,,;\t|",
    "formula": "=HYPERLINK(1)",
    "markdown": "| a | **b** | `c` | <script>",
    "backslashes": "\\n \\ud800 \\",
    "astral": "𝄞 東京",
    "spaces": "  a  ",
    "byte order mark": "\ufeffa",
    "100 kB": "word " * 20_000,
    "200 kB": "x" * 200_000,
    "100 thousand lines": "\n" * 100_000,
}


@pytest.fixture(scope="module")
def plan(make_spec: Callable[..., PromptSweepSpec], items: list[Item]) -> Plan:
    return make_plan(make_spec(sweep={"temps": [0, 0.7]}, sampling={"samples_per_item": 2}), items)


@pytest.fixture(scope="module")
def trial(plan: Plan) -> Trial:
    (only,) = plan.trials
    return only


@pytest.fixture
def folder(tmp_path: Path, trial: Trial) -> TrialFolder:
    return TrialFolder(tmp_path / trial.slug)


def answered(name: str, trial: Trial, text: str = "Ada", **fields: Any) -> Row:
    plain = {
        "custom_id": name,
        "status": "ok",
        "request_id": f"id of {name}",
        "finish_reason": "stop",
        "text": text,
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "trial": trial.slug,
    }
    return plain | fields


def failed(name: str, trial: Trial) -> Row:
    nothing = {"finish_reason": "error", "text": None, "prompt_tokens": None, "completion_tokens": None}
    return answered(name, trial) | {"status": "error"} | nothing


def rows_of(plan: Plan, trial: Trial) -> list[Row]:
    requests = [r for part in plan.parts for r in part_requests(trial, part, plan.conditions)]
    return [answered(r.custom_id, trial, f"Ada {n}") for n, r in enumerate(requests)]


def journal(folder: TrialFolder, rows: list[Row]) -> None:
    folder.journal.unlink(missing_ok=True)
    with Journal(folder.journal) as file:
        file.append(rows)


def test_predictions_are_the_journal_in_the_order_of_the_plan(
    folder: TrialFolder, plan: Plan, trial: Trial
) -> None:
    journal(folder, rows_of(plan, trial))
    # 7 items x 2 conditions x (1 draw at 0 + 2 at .7)
    assert write_predictions(folder, plan, trial) == 42
    table = list(read_predictions(folder.predictions))
    assert [row["custom_id"] for row in table] == [
        f"{item.dataset}|{item.item_id}|{condition}|{temperature}|{draw}|{item.type}"
        for item in plan.items
        for condition in ("control", "treatment")
        for temperature, draw in (("0.0", 0), ("0.7", 0), ("0.7", 1))
    ]
    by_id = {row["custom_id"]: row for row in read_rows(folder.journal)}
    for row in table:
        source = by_id[row["custom_id"]]
        assert row["custom_id"].split("|") == [
            row[key] for key in ("dataset", "item_id", "condition", "temp", "sample_index", "type")
        ]
        assert row["response_text"] == source["text"]
        assert row["request_id"] == source["request_id"]
        assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == ("10", "2", "12")


def test_the_columns_are_those_of_the_contract(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    journal(folder, rows_of(plan, trial))
    write_predictions(folder, plan, trial)
    write_scores(folder, plan, trial, RULE)
    assert folder.predictions.read_text().startswith(
        "custom_id,dataset,item_id,condition,temp,sample_index,type,request_id,finish_reason,response_text,"
        "prompt_tokens,completion_tokens,total_tokens"
    )
    assert folder.scores.read_text().startswith(
        "dataset,item_key,type,condition,temp,em,f1,abstain_rate,false_answer_rate,unsupported_rate"
    )
    assert {f"{c}_std" for c in ("em", "f1", "abstain_rate", "false_answer_rate", "unsupported_rate")} < {
        *SCORE_COLUMNS
    }


@pytest.mark.parametrize("seed", range(5))
def test_tables_are_the_same_bytes_whatever_the_order_of_arrival(
    folder: TrialFolder, plan: Plan, trial: Trial, seed: int
) -> None:
    # A resumed run must not be told from one that was never stopped.
    rows = rows_of(plan, trial)

    def tables() -> tuple[bytes, bytes]:
        journal(folder, rows)
        write_predictions(folder, plan, trial)
        write_scores(folder, plan, trial, RULE)
        return folder.predictions.read_bytes(), folder.scores.read_bytes()

    in_order = tables()
    random.Random(seed).shuffle(rows)
    assert tables() == in_order


def test_an_answer_supersedes_the_failures_before_and_after_it(
    folder: TrialFolder, plan: Plan, trial: Trial
) -> None:
    rows = rows_of(plan, trial)
    first = rows[0]["custom_id"]
    journal(folder, rows)
    write_predictions(folder, plan, trial)
    without_failure = folder.predictions.read_bytes()
    journal(folder, [failed(first, trial), *rows, failed(first, trial)])
    write_predictions(folder, plan, trial)
    assert folder.predictions.read_bytes() == without_failure


def test_a_failed_draw_is_a_row_and_is_not_scored(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    # The only draw at 0 of one item, and one of two draws at .7 of another, both in the control arm.
    gone, half = "facts|c0|control|0.0|0|closed", "facts|c1|control|0.7|1|closed"
    journal(
        folder,
        [
            failed(r["custom_id"], trial) if r["custom_id"] in (gone, half) else r
            for r in rows_of(plan, trial)
        ],
    )
    assert write_predictions(folder, plan, trial) == 42
    rows = {row["custom_id"]: row for row in read_predictions(folder.predictions)}
    for name in (gone, half):
        assert rows[name]["finish_reason"] == "error"
        assert (rows[name]["response_text"], rows[name]["total_tokens"]) == ("", "")
    # 7 items x 2 conditions x 2 temperatures, less the one of which every draw failed.
    assert write_scores(folder, plan, trial, RULE) == 27
    scores = {(row["item_key"], row["condition"], row["temp"]): row for row in read_scores(folder.scores)}
    assert ("facts|c0", "control", "0.0") not in scores
    assert scores["facts|c0", "treatment", "0.0"]["n_samples"] == "1"
    assert scores["facts|c1", "control", "0.7"]["n_samples"] == "1"
    assert scores["facts|c1", "treatment", "0.7"]["n_samples"] == "2"


def test_what_is_not_defined_is_empty_and_not_zero(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    journal(folder, rows_of(plan, trial))
    write_predictions(folder, plan, trial)
    write_scores(folder, plan, trial, RULE)
    rows = {(row["item_key"], row["temp"]): row for row in read_scores(folder.scores)}
    closed, answerable, unanswerable = (
        rows["facts|c0", "0.0"],
        rows["passages|o0", "0.0"],
        rows["passages|o3", "0.0"],
    )
    assert (closed["false_answer_rate"], closed["unsupported_rate"]) == ("", "")
    assert answerable["false_answer_rate"] == ""
    assert unanswerable["false_answer_rate"] == "1.0"
    assert closed["em_std"] == ""  # one draw has no deviation
    assert rows["facts|c0", "0.7"]["em_std"] == "0.0"


@pytest.mark.parametrize("n_missing", [1, 42])
def test_missing_draws_are_refused_and_no_table_is_written(
    folder: TrialFolder, plan: Plan, trial: Trial, n_missing: int
) -> None:
    journal(folder, rows_of(plan, trial)[n_missing:])
    with pytest.raises(
        StoreError, match=f"{n_missing} of 42 draws are missing, the first is .*run the poll step"
    ):
        write_predictions(folder, plan, trial)
    assert not folder.predictions.exists()


def test_without_a_journal_everything_is_missing(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    with pytest.raises(StoreError, match="42 of 42 draws are missing"):
        write_predictions(folder, plan, trial)


def test_a_trial_that_was_asked_nothing_has_tables_without_rows(
    folder: TrialFolder, plan: Plan, trial: Trial
) -> None:
    # A deadline may come before the turn of the last trial: nothing is complete, and nothing is missing.
    nothing = restricted(plan, trial, lambda _: False)
    assert write_predictions(folder, nothing, trial) == 0
    write_scores(folder, nothing, trial, RULE, ScoringSpec())
    write_costs(folder, PricingSpec(), None)
    assert list(read_predictions(folder.predictions)) == []
    assert list(read_scores(folder.scores)) == []


def test_a_torn_last_row_is_missing(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    journal(folder, rows_of(plan, trial))
    folder.journal.write_bytes(folder.journal.read_bytes()[:-1])
    with pytest.raises(StoreError, match="1 of 42 draws are missing"):
        write_predictions(folder, plan, trial)


def test_a_damaged_row_is_refused(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    journal(folder, rows_of(plan, trial))
    folder.journal.write_bytes(b"{}\n" + folder.journal.read_bytes())
    with pytest.raises(StoreError, match="not a journal row"):
        write_predictions(folder, plan, trial)


def test_draws_that_the_plan_does_not_have_are_left_out(
    folder: TrialFolder, plan: Plan, trial: Trial
) -> None:
    # A run that goes on with one condition keeps the rows of the other.
    journal(folder, [answered("facts|c9|control|0.0|0|closed", trial), *rows_of(plan, trial)])
    assert write_predictions(folder, plan, trial) == 42


def test_a_journal_of_another_trial_is_refused(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    # Custom ids are the same in every trial; only the trial on the row tells them apart.
    rows = rows_of(plan, trial)
    journal(folder, [*rows[:-1], rows[-1] | {"trial": "another-trial"}])
    with pytest.raises(StoreError, match=f"is of trial another-trial, wanted {trial.slug}"):
        write_predictions(folder, plan, trial)
    assert not folder.predictions.exists()


@pytest.mark.parametrize("change", ["swap", "drop", "add", "rename"])
def test_predictions_that_are_not_those_of_the_plan_are_not_scored(
    folder: TrialFolder, plan: Plan, trial: Trial, change: str
) -> None:
    journal(folder, rows_of(plan, trial))
    write_predictions(folder, plan, trial)
    head, *rows = folder.predictions.read_text().splitlines(keepends=True)
    rows = {
        "swap": [rows[1], rows[0], *rows[2:]],
        "drop": rows[:-1],
        "add": [*rows, rows[-1]],
        "rename": [rows[0].replace("c0", "c9"), *rows[1:]],
    }[change]
    folder.predictions.write_text("".join([head, *rows]))
    with pytest.raises(StoreError, match="run the parse step again"):
        write_scores(folder, plan, trial, RULE)
    assert not folder.scores.exists()


@pytest.mark.parametrize("read", [read_predictions, read_scores])
def test_a_table_with_other_columns_or_none_is_refused(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(StoreError, match="no such file; run the step that writes it first"):
        list(read(tmp_path / "gone.csv"))
    for text in ("", "a,b\n1,2\n"):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(StoreError, match="columns"):
            list(read(tmp_path / "t.csv"))


def test_further_columns_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        ",".join([*PREDICTION_COLUMNS, "gnll"]) + "\n" + "," * len(PREDICTION_COLUMNS) + "\n"
    )
    assert len(list(read_predictions(tmp_path / "t.csv"))) == 1


def stored(folder: TrialFolder, plan: Plan, trial: Trial, text: str) -> str:
    """Send a reply through journal and tables, among tame ones, and return what stands in the table."""
    rows = rows_of(plan, trial)
    hostile = rows[20] = rows[20] | {"text": text}
    journal(folder, rows)
    assert list(read_rows(folder.journal)) == rows
    write_predictions(folder, plan, trial)
    table = {row["custom_id"]: row for row in read_predictions(folder.predictions)}
    assert {name: row["response_text"] for name, row in table.items() if name != hostile["custom_id"]} == {
        row["custom_id"]: row["text"] for row in rows if row is not hostile
    }
    assert {row["total_tokens"] for row in table.values()} == {"12"}
    write_scores(folder, plan, trial, RULE)
    assert len(list(read_scores(folder.scores))) == 28
    return table[hostile["custom_id"]]["response_text"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_reply_reads_back_exactly(folder: TrialFolder, plan: Plan, trial: Trial, text: str) -> None:
    assert stored(folder, plan, trial, text) == text


@settings(max_examples=30)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_reply_reads_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, trial: Trial, text: str
) -> None:
    assert stored(TrialFolder(tmp_path_factory.getbasetemp() / "any"), plan, trial, text) == text


@pytest.mark.parametrize(("text", "escaped"), [("\ud800", "\\ud800"), ("a\udfff,b", "a\\udfff,b")])
def test_a_lone_surrogate_is_exact_in_the_journal_and_an_escape_in_the_table(
    folder: TrialFolder, plan: Plan, trial: Trial, text: str, escaped: str
) -> None:
    assert stored(folder, plan, trial, text) == escaped


def test_a_table_ends_its_rows_in_one_byte(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    journal(folder, rows_of(plan, trial))
    write_predictions(folder, plan, trial)
    content = folder.predictions.read_bytes()
    assert b"\r" not in content
    assert content.count(b"\n") == 43


def test_other_readers_of_tables_read_the_same(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    text = HOSTILE["control"] + HOSTILE["windows"] + HOSTILE["quotes"]
    stored(folder, plan, trial, text)
    with folder.predictions.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, strict=True))
    assert {len(row) for row in rows} == {14}
    assert [row[9] for row in rows].count(text) == 1


def test_costs_are_the_tokens_times_the_prices(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    # 42 draws of 10 + 2 tokens: 420 x 1 USD/M + 84 x 10 USD/M = .00126 USD; half of it in each arm.
    journal(folder, rows_of(plan, trial))
    write_predictions(folder, plan, trial)
    write_costs(folder, PricingSpec(input_per_million=1, output_per_million=10), inference_s=1.5)
    costs = read_json(folder.costs)
    assert (costs["prompt_tokens"], costs["completion_tokens"], costs["total_tokens"]) == (420, 84, 504)
    assert costs["usd_if_hosted"] == pytest.approx(0.00126)
    assert [costs["by_condition"][arm]["usd_if_hosted"] for arm in ("control", "treatment")] == [
        0.00063,
        0.00063,
    ]


def test_tokens_that_nobody_counted_cost_nothing_known(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    uncounted = {"prompt_tokens": None, "completion_tokens": None}
    journal(folder, [row | uncounted for row in rows_of(plan, trial)])
    write_predictions(folder, plan, trial)
    write_costs(folder, PricingSpec(), inference_s=None)
    costs = read_json(folder.costs)
    assert (costs["total_tokens"], costs["usd_if_hosted"], costs["usage_source"]) == (None, None, None)
    assert costs["n_draws"] == 42


def test_what_the_engine_said_of_its_tokens_goes_into_the_tables(
    folder: TrialFolder, plan: Plan, trial: Trial
) -> None:
    rows = rows_of(plan, trial)
    # Of two draws at .7 one is cut off; exp(-0.5) is the probability of a token in the other.
    cut, whole = "facts|c0|control|0.7|0|closed", "facts|c0|control|0.7|1|closed"
    changes = {cut: {"finish_reason": "length"}, whole: {"mean_logprob": -0.5}}
    journal(folder, [row | changes.get(row["custom_id"], {}) for row in rows])
    write_predictions(folder, plan, trial)
    write_scores(folder, plan, trial, RULE)
    predictions = {row["custom_id"]: row["mean_logprob"] for row in read_predictions(folder.predictions)}
    assert (predictions[cut], predictions[whole]) == ("", "-0.5")
    scores = {(row["item_key"], row["condition"], row["temp"]): row for row in read_scores(folder.scores)}
    row = scores["facts|c0", "control", "0.7"]
    assert row["truncated_rate"] == "0.5"
    assert float(row["confidence"]) == pytest.approx(math.exp(-0.5))
    assert (row["cluster"], row["answerable"]) == ("facts|c0", "1")
    assert scores["facts|c1", "control", "0.7"]["confidence"] == ""


def test_items_on_one_passage_share_a_cluster(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    journal(folder, rows_of(plan, trial))
    write_predictions(folder, plan, trial)
    write_scores(folder, plan, trial, RULE)
    clusters = {row["item_key"]: row["cluster"] for row in read_scores(folder.scores)}
    assert clusters["passages|o0"] == clusters["passages|o2"] != clusters["passages|o1"]
    assert len(clusters["passages|o0"]) == 16


def test_rouge_is_empty_unless_it_is_asked_for(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    journal(folder, rows_of(plan, trial))
    write_predictions(folder, plan, trial)
    write_scores(folder, plan, trial, RULE)
    assert {(row["rouge_l"], row["rouge_accuracy"]) for row in read_scores(folder.scores)} == {("", "")}
    write_scores(folder, plan, trial, RULE, ScoringSpec(rouge_l=True))
    rows = {row["item_key"]: row for row in read_scores(folder.scores)}
    assert float(rows["passages|o0"]["rouge_l"]) == pytest.approx(2 / 3)  # "Ada <n>" for "Ada": P 1/2, R 1
    assert rows["passages|o3"]["rouge_l"] == ""  # nothing to compare with


def test_the_official_squad_figures_stand_beside_the_scores(
    folder: TrialFolder, plan: Plan, trial: Trial
) -> None:
    # Three answerable items of which one is answered, one unanswerable of which one draw in two abstains.
    replies = {"passages|o0": "Ada", "passages|o1": "Bert", "passages|o2": "Bert"}
    rows = []
    for row in rows_of(plan, trial):
        key, _, _, index, _ = row["custom_id"].rsplit("|", 4)
        text = replies.get(key, "I don't know." if index == "1" else "Bert")
        rows.append(row | {"text": text})
    journal(folder, rows)
    write_predictions(folder, plan, trial)
    write_scores(folder, plan, trial, RULE)
    record = read_json(folder.squad)
    assert [(arm["condition"], arm["temp"]) for arm in record["arms"]] == [
        *(("control", 0.0), ("control", 0.7), ("treatment", 0.0), ("treatment", 0.7))
    ]
    warm = record["arms"][1]
    assert (warm["total"], warm["HasAns_total"], warm["NoAns_total"]) == (4, 3, 1)
    assert (warm["HasAns_exact"], warm["NoAns_exact"]) == (pytest.approx(100 / 3), 50.0)
    assert warm["exact"] == pytest.approx(100 * (1 + 0.5) / 4)
    assert record["arms"][0]["NoAns_exact"] == 0.0


def test_without_unanswerable_items_there_are_no_squad_figures(
    folder: TrialFolder, make_spec: Callable[..., PromptSweepSpec], items: list[Item]
) -> None:
    plan = make_plan(make_spec(), [item for item in items if item.answers])
    (trial,) = plan.trials
    journal(folder, rows_of(plan, trial))
    write_predictions(folder, plan, trial)
    folder.squad.write_text("of an earlier scoring")
    write_scores(folder, plan, trial, RULE)
    assert not folder.squad.exists()


def test_an_older_table_is_read_and_what_it_lacks_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",".join(PREDICTION_COLUMNS[:13]) + "\n" + ",".join("abcdefghijklm") + "\n")
    (row,) = read_predictions(path)
    assert (row["total_tokens"], row["mean_logprob"]) == ("m", "")
    path.write_text(",".join(SCORE_COLUMNS[:10]) + "\n" + ",".join("abcdefghij") + "\n")
    (row,) = read_scores(path)
    assert (row["em"], row["cluster"], row["n_samples"]) == ("f", "", "")


def test_what_a_spreadsheet_does_to_a_table_does_no_harm(
    folder: TrialFolder, plan: Plan, trial: Trial
) -> None:
    journal(folder, rows_of(plan, trial))
    write_predictions(folder, plan, trial)
    rows = list(read_predictions(folder.predictions))
    plain = folder.predictions.read_bytes()
    folder.predictions.write_bytes(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"))
    assert list(read_predictions(folder.predictions)) == rows


def test_a_cut_row_is_refused_with_its_line(folder: TrialFolder, plan: Plan, trial: Trial) -> None:
    journal(folder, rows_of(plan, trial))
    write_predictions(folder, plan, trial)
    head, *rows = folder.predictions.read_text().splitlines(keepends=True)
    folder.predictions.write_text("".join([head, *rows[:-1], rows[-1][:30]]))
    with pytest.raises(StoreError, match=r"predictions\.csv:43: \d fields, 14 wanted"):
        list(read_predictions(folder.predictions))
