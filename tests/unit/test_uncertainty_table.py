import csv
import json

import pytest

from overnight.errors import StoreError
from overnight.runs.uncertainty_table import (
    COLUMNS,
    TABLE,
    MeasuredItems,
    TrialTable,
    read_measured_items,
    write_measured_items,
    write_run_table,
)
from overnight.uncertainty.analysing import analyse
from overnight.uncertainty.analysis import AnalysisSettings
from overnight.uncertainty.table import Cell, Column, ItemTable
from tests.unit.uncertainty.trials import made_up, model

KEYS = ("squad|1", 'squad|"2", two', "squad|3")


def cells(*values):
    return tuple(
        Cell(value=v) if isinstance(v, float) else Cell(value=None, undefined_because=v) for v in values
    )


def column(name, *values, source=None):
    return Column(name=name, version=2, cells=cells(*values), source=source)


def items(**changes) -> MeasuredItems:
    made = {
        "dataset": "squad",
        "finish_reasons": ("stop", "length", None),
        "n_tokens": (2, 0, None),
        "measures": ItemTable(
            item_keys=KEYS,
            columns=(
                column("g_nll", 0.1 + 0.2, "the answer is empty", "the model crashed"),
                column("n_tokens", 2.0, 0.0, "the model crashed"),
                column("rw_g_nll", 1e-17, "no relevance", "no relevance", source="a similarity model@1"),
            ),
        ),
        "labels": ItemTable(
            item_keys=KEYS, columns=(column("em", 1.0, 0.0, "no answer"), column("f1", 1.0, 1.0, 0.0))
        ),
    }
    return MeasuredItems(**(made | changes))


def test_what_is_written_reads_back_with_every_reason_and_digit(tmp_path) -> None:
    write_measured_items(tmp_path, items())
    assert read_measured_items(tmp_path) == items()


def test_the_table_is_the_one_that_was_agreed_on(tmp_path) -> None:
    write_measured_items(tmp_path, items())
    with (tmp_path / TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["dataset", "item_key", "finish_reason", "n_tokens", "g_nll", "rw_g_nll", "label_em", "label_f1"],
        ["squad", "squad|1", "stop", "2", "0.30000000000000004", "1e-17", "1", "1"],
        ["squad", 'squad|"2", two', "length", "0", "", "", "0", "1"],
        ["squad", "squad|3", "", "", "", "", "", "0"],
    ]


def test_the_columns_say_version_source_and_why_values_are_missing(tmp_path) -> None:
    write_measured_items(tmp_path, items())
    record = json.loads((tmp_path / COLUMNS).read_text())
    g_nll, _, weighted = record["measures"]
    assert (g_nll["name"], g_nll["title"], g_nll["version"], g_nll["unit"]) == ("g_nll", "G-NLL", 2, "nats")
    assert g_nll["n_missing"] == 2
    assert g_nll["missing"] == [
        {"because": "the answer is empty", "n_items": 1, "item_keys": [KEYS[1]]},
        {"because": "the model crashed", "n_items": 1, "item_keys": [KEYS[2]]},
    ]
    assert weighted["source"] == "a similarity model@1"
    assert weighted["missing"] == [{"because": "no relevance", "n_items": 2, "item_keys": None}]
    assert [one["name"] for one in record["labels"]] == ["em", "f1"]


def test_a_table_that_a_spreadsheet_has_saved_reads_alike(tmp_path) -> None:
    write_measured_items(tmp_path, items())
    path = tmp_path / TABLE
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert read_measured_items(tmp_path) == items()


def test_a_trial_made_from_files_has_lengths_only_where_they_are_known() -> None:
    trial = items().trial("slug", model("m"))
    assert trial.lengths == {KEYS[0]: 2.0, KEYS[1]: 0.0}
    assert (trial.dataset, trial.measures.names) == ("squad", ("g_nll", "n_tokens", "rw_g_nll"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.30000000000000004", "nan", r"item 1: g_nll is 'nan', wanted a number or nothing"),
        ("0.30000000000000004", "", r"no g_nll, and uncertainty_columns.json gives no reason"),
        (
            "stop,2,0.30000000000000004,1e-17,1",
            "stop,2,0.30000000000000004,1e-17,2",
            "label_em is '2', wanted 1, 0",
        ),
        ("squad,squad|3,,,,,,0\n", "", "2 items, uncertainty_columns.json says 3"),
        ("squad,squad|3,,,,,,0\n", "squad,squad|3,,\n", "4 fields, 8 wanted"),
        ("squad,squad|3", "triviaqa,squad|3", "item 3 is of 'triviaqa'"),
        ("squad,squad|3", "squad,squad|1", "no g_nll, and"),
        ("g_nll", "nll", "columns"),
    ],
)
def test_a_table_that_was_edited_says_where(tmp_path, old, new, message) -> None:
    write_measured_items(tmp_path, items())
    path = tmp_path / TABLE
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        read_measured_items(tmp_path)


def test_columns_that_are_missing_or_damaged_say_so(tmp_path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        read_measured_items(tmp_path)
    (tmp_path / COLUMNS).write_text('{"dataset": "d"}')
    with pytest.raises(StoreError, match="n_items: Field required"):
        read_measured_items(tmp_path)


def test_a_length_that_is_not_the_number_of_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        items(n_tokens=(2, 1, None))
    with pytest.raises(ValueError, match="same items"):
        items(n_tokens=(2,))


def test_an_analysis_from_files_is_the_one_that_was_made_first(tmp_path) -> None:
    # `overnight report` has nothing but the files.
    settings, first, second = AnalysisSettings(n_resamples=50), [], []
    for place, dataset in enumerate(("d", "e")):
        trial = made_up(model("m"), dataset, seed=place, n=40)
        keys = trial.measures.item_keys
        measured = MeasuredItems(
            dataset=dataset,
            finish_reasons=("stop",) * len(keys),
            n_tokens=tuple(int(trial.lengths[key]) for key in keys),
            measures=trial.measures,
            labels=trial.labels,
        )
        write_measured_items(tmp_path / dataset, measured)
        first.append(measured.trial(trial.slug, trial.model))
        second.append(read_measured_items(tmp_path / dataset).trial(trial.slug, trial.model))
    assert analyse(first, settings) == analyse(second, settings)


def test_the_table_of_a_run_has_all_rows_of_all_trials_under_one_heading(tmp_path) -> None:
    write_measured_items(tmp_path / "a", items())
    other = ItemTable(item_keys=KEYS, columns=(column("perplexity", 3.0, 4.0, 5.0),))
    write_measured_items(tmp_path / "b", items(measures=other))
    trials = [TrialTable(slug=name, model=f"model {name}", results=tmp_path / name) for name in ("a", "b")]
    write_run_table(tmp_path / TABLE, trials)
    with (tmp_path / TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == ["trial", "model", "dataset", "item_key", "finish_reason", "n_tokens"]
    assert list(rows[0])[6:] == ["g_nll", "rw_g_nll", "perplexity", "label_em", "label_f1"]
    assert [(row["trial"], row["model"], row["item_key"]) for row in rows] == [
        (name, f"model {name}", key) for name in ("a", "b") for key in KEYS
    ]
    assert [row["g_nll"] for row in rows] == ["0.30000000000000004", "", "", "", "", ""]
    assert [row["perplexity"] for row in rows] == ["", "", "", "3.0", "4.0", "5.0"]


def test_a_trial_without_its_table_leaves_the_table_of_the_run_as_it_was(tmp_path) -> None:
    write_measured_items(tmp_path / "a", items())
    (tmp_path / TABLE).write_text("old")
    trials = [TrialTable(slug=name, model="m", results=tmp_path / name) for name in ("a", "b")]
    with pytest.raises(StoreError, match="no such file"):
        write_run_table(tmp_path / TABLE, trials)
    assert (tmp_path / TABLE).read_text() == "old"
