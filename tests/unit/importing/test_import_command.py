import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar
from statsmodels.stats.multitest import multipletests

from overnight.cli import main
from overnight.importing.lm_eval import find_sample_files, read_samples
from overnight.importing.logs import IdentifyBy
from overnight.importing.table import score_table

Sample = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(["import", *argv])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


@pytest.fixture(scope="session")
def published(shared_data: Path) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Return 15 published models and their ``[817, 15]`` table of bleu_acc."""
    with (shared_data / "lm_eval_samples" / "per_item.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    models = [name.removesuffix(":bleu_acc") for name in rows[0] if name.endswith(":bleu_acc")]
    return models, np.array([[float(row[f"{model}:bleu_acc"]) for model in models] for row in rows])


def write_published(
    write_samples: Write, lm_sample: Sample, models: list[str], right: np.ndarray[Any, Any]
) -> None:
    """Write a folder of samples a model, every second one in the opposite order."""
    for column, model in enumerate(models):
        order = list(range(len(right)))[:: -1 if column % 2 else 1]
        write_samples(model, [lm_sample(n, bleu_acc=right[n, column]) for n in order], task="truth")


def test_the_scores_of_published_models_are_those_that_were_published(
    published: tuple[list[str], np.ndarray[Any, Any]],
    lm_sample: Sample,
    write_samples: Write,
    tmp_path: Path,
    shared_data: Path,
) -> None:
    models, right = published[0][::3], published[1][:, ::3]
    write_published(write_samples, lm_sample, models, right)
    files = find_sample_files([tmp_path / "logs"], None)
    logs = [read_samples(file, filter_name=None, identify_by=IdentifyBy.CONTENT) for file in files]
    table = score_table(logs, "bleu_acc")
    means = {
        model: fmean(score for score in scores.values() if score is not None)
        for model, scores in table.scores.items()
    }
    results = json.loads((shared_data / "lm_eval_samples" / "published_results.json").read_text())
    assert len(table.items) == 817
    assert means == pytest.approx({model: results[model]["bleu_acc,none"] for model in models})


def test_fifteen_published_models_give_105_pairs_as_the_libraries_have_them(
    published: tuple[list[str], np.ndarray[Any, Any]], lm_sample: Sample, write_samples: Write, tmp_path: Path
) -> None:
    # The first 60 items: every estimate of every pair over all 817 takes ten seconds.
    models, right = published[0], published[1][:60]
    write_published(write_samples, lm_sample, models, right)
    out = tmp_path / "out"
    assert run("lm-eval", str(tmp_path / "logs"), "--out", str(out), "--resamples", "20") == 0

    (table,) = json.loads((out / "significance.json").read_text())["tables"]
    column = {model: n for n, model in enumerate(models)}
    expected = []
    for pair in table["pairs"]:
        first, second = right[:, column[pair["first"]]], right[:, column[pair["second"]]]
        counts = [[int(np.sum((first == i) & (second == j))) for j in (1, 0)] for i in (1, 0)]
        expected.append(mcnemar(counts, exact=True).pvalue)
    assert len(expected) == 105
    assert [pair["p_value"] for pair in table["pairs"]] == pytest.approx(expected)
    assert [pair["q_value"] for pair in table["pairs"]] == pytest.approx(
        multipletests(expected, method="fdr_bh")[1].tolist()
    )
    assert table["cochran"]["q"] == pytest.approx(cochrans_q(right).statistic)

    with (out / "per_item.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["item", *sorted(models)]
    assert len(rows) == 60
    assert "Content-Security-Policy" in (out / "report.html").read_text()


def test_json_is_printed_where_a_script_wants_it(
    lm_sample: Sample, write_samples: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, score in (("a", 0.0), ("b", 1.0)):
        write_samples(model, [lm_sample(n, acc=score) for n in range(8)])
    argv = ("lm-eval", str(tmp_path / "logs"), "--out", str(tmp_path / "out"), "--json")
    assert run(*argv) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((tmp_path / "out" / "significance.json").read_text())
    assert record["tables"][0]["pairs"][0]["delta_mean"] == 1.0


def test_the_order_of_the_paths_moves_no_number_of_a_metric_in_any_unit(
    lm_sample: Sample, write_samples: Write, tmp_path: Path
) -> None:
    # A metric from 0 to 100 is no share: it is shown in its own unit.
    for model, base in (("a", 30.0), ("b", 42.0)):
        write_samples(model, [lm_sample(n, bleu=base + n) for n in range(8)])
    assert run("lm-eval", str(tmp_path / "logs"), "--out", str(tmp_path / "out"), "--resamples", "50") == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| a | b | 8 | +12 | +12 to +12 |" in report
    assert "the unit of bleu" in report


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("lm-evl", "x", "--out", "y"), "did you mean lm-eval"),
        (("lm-eval", "nowhere", "--out", "y"), "nowhere: no such file or folder"),
        (("inspect", "nowhere", "--out", "y"), "nowhere: no such file or folder"),
        (("inspect", ".", "--filter", "strict", "--out", "y"), "have no filters"),
        (("lm-eval", ".", "--out", "y"), "no samples_\\*.jsonl below it"),
        (("lm-eval", ".", "--identify-by", "hash", "--out", "y"), "no such way"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*argv) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said)
    assert not (tmp_path / "y").exists()
