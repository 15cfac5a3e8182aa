import json
import tracemalloc
from pathlib import Path

import pytest

from overnight.cli import main
from overnight.errors import UsageError
from overnight.runs.usage_files import usage_of_json, usage_of_predictions

HEADER = "custom_id,condition,finish_reason,response_text,prompt_tokens,completion_tokens"


def table(tmp_path: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8", end: str = "\n") -> Path:
    path = tmp_path / "predictions.csv"
    path.write_bytes((end.join([header, *rows]) + end).encode(encoding))
    return path


def row(n: int, arm: str = "control", prompt: str = "10", completion: str = "2", text: str = "Ada") -> str:
    return f"d|{n}|{arm}|0.0|0|closed,{arm},stop,{text},{prompt},{completion}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_of_any_editor_are_read(tmp_path: Path, encoding: str, end: str) -> None:
    path = table(tmp_path, row(0), row(0, "treatment", "7", "3"), encoding=encoding, end=end)
    sums = usage_of_predictions(path).sums
    assert (sums["control"]["prompt_tokens"], sums["treatment"]["completion_tokens"]) == (10, 3)


def test_the_arm_is_read_from_the_custom_id_where_there_is_no_column(tmp_path: Path) -> None:
    path = table(tmp_path, "d|1|treatment|0.0|0|open,4,1", header="custom_id,prompt_tokens,completion_tokens")
    assert usage_of_predictions(path).sums["treatment"]["prompt_tokens"] == 4


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        ([], HEADER, "no rows"),
        ([row(0)], "question,answer", r":1: no column 'custom_id'; found question, answer"),
        ([row(0, prompt="-4")], HEADER, r":2: prompt_tokens: found '-4'"),
        ([row(0), row(1, completion="2.5")], HEADER, r":3: completion_tokens: found '2.5'"),
        ([row(0, prompt="1e3")], HEADER, "found '1e3'"),
        ([row(0, prompt="nan")], HEADER, "found 'nan'"),
        ([row(0, prompt="\u0663")], HEADER, "whole number"),
        ([row(0), row(1), row(0)], HEADER, r":4: custom_id 'd\|0\|control.*stands already in line 2"),
        ([row(0), "d|1|control"], HEADER, r":3: the row has not the 6 fields"),
        ([row(0) + ",more"], HEADER, r":2: the row has not the 6 fields"),
        (["a|b,1,1"], "custom_id,prompt_tokens,completion_tokens", "has 2 fields, wanted 6"),
        ([row(0, text='"open')], HEADER, "not CSV"),
    ],
)
def test_a_damaged_table_is_refused_by_its_line(
    tmp_path: Path, lines: list[str], header: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        usage_of_predictions(table(tmp_path, *lines, header=header))


def test_a_reply_of_many_lines_is_one_row(tmp_path: Path) -> None:
    path = table(tmp_path, row(0, text='"a\nb\r\nc,""d"""'), row(1))
    assert usage_of_predictions(path).sums["control"]["n_draws"] == 2


def test_answers_without_counts_are_in_no_sum_unless_an_estimate_is_asked_for(tmp_path: Path) -> None:
    # The mean of 10 and 20 prompt tokens is 15, of 2 and 4 completion tokens 3; the other arm has no mean.
    path = table(
        tmp_path, row(0), row(1, "control", "20", "4"), row(2, "control", "", ""), row(0, "treatment", "", "")
    )
    plain, estimated = usage_of_predictions(path), usage_of_predictions(path, estimate=True)
    assert (plain.sums["control"]["prompt_tokens"], plain.n_without, plain.n_estimated) == (30, 2, 0)
    assert (estimated.sums["control"]["prompt_tokens"], estimated.sums["control"]["completion_tokens"]) == (
        45,
        9,
    )
    assert (estimated.n_without, estimated.n_estimated) == (1, 1)
    assert (plain.source, estimated.source) == ("predictions.csv", "predictions.csv, partly estimated")


def test_memory_stays_flat_while_the_table_grows(tmp_path: Path) -> None:
    # Eight bytes a row are kept, to find an id that stands twice.
    path = tmp_path / "p.csv"
    peaks = []
    for n_rows in (500, 5000):
        path.write_text("\n".join([HEADER, *(row(n, text="x" * 400) for n in range(n_rows))]) + "\n")
        usage_of_predictions(path)  # whatever is imported late
        tracemalloc.start()
        usage_of_predictions(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 4500 * 40  # the rows hold 450 bytes each


@pytest.mark.parametrize(
    "value",
    [
        {"prompt_tokens": 10, "completion_tokens": 2},
        {"input_tokens": 10, "output_tokens": 2},
        {"usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}},
        {"by_condition": {"control": {"prompt_tokens": 10, "completion_tokens": 2}}},
    ],
)
def test_usage_files_are_read_in_every_common_form(tmp_path: Path, value: object) -> None:
    path = tmp_path / "usage.json"
    path.write_text(json.dumps(value), encoding="utf-8-sig")
    (arm,) = usage_of_json(path).sums.values()
    assert (arm["prompt_tokens"], arm["completion_tokens"]) == (10, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"prompt_tokens": -1, "completion_tokens": 1}',
        '{"prompt_tokens": 1.5, "completion_tokens": 1}',
        '{"prompt_tokens": true, "completion_tokens": 1}',
        '{"by_condition": [1]}',
        '{"by_condition": {"control": 3}}',
    ],
)
def test_a_wrong_usage_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "usage.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"usage\.json"):
        usage_of_json(path)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as leaving:
        main(["costs", *arguments])
    out, err = capsys.readouterr()
    return int(leaving.value.code or 0), out, err


def test_the_command_prices_the_golden_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, row(0, "control", "44800000", "8300000"))
    out_path = tmp_path / "out" / "costs.json"
    code, out, _ = command(
        capsys, "--pred_csv", str(path), "--batch_discount", "0.5", "--out_path", str(out_path), "--json"
    )
    assert (code, json.loads(out)["usd_if_hosted"]) == (0, 5.85)
    assert json.loads(out_path.read_text()) == json.loads(out)


def test_a_usage_file_wins_over_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usage = tmp_path / "usage.json"
    usage.write_text('{"prompt_tokens": 1000000, "completion_tokens": 0}')
    _, out, _ = command(
        capsys, "--pred_csv", str(table(tmp_path, row(0))), "--usage_json", str(usage), "--json"
    )
    record = json.loads(out)
    assert (record["usage_source"], record["usd_if_hosted"], record["n_draws"]) == ("usage_json", 0.15, None)


def test_prices_come_from_the_config_and_the_command_line_wins(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = project / "sweeps" / "s.yaml"
    with sweep.open("a") as file:
        file.write(
            "execution:\n  pricing:\n    table: {tiny: {input_per_mtok: 4, output_per_mtok: 8}}\n"
            "    batch_discount: 0.5\n"
        )
    path = table(tmp_path, row(0, "control", "1000000", "1000000"))
    _, out, _ = command(capsys, "--pred-csv", str(path), "--config", str(sweep), "--json")
    assert json.loads(out)["usd_if_hosted"] == 6.0  # the sweep's only model; (4 + 8) / 2
    _, out, _ = command(
        capsys, "--pred-csv", str(path), "--config", str(sweep), "--input-per-million", "0", "--json"
    )
    assert json.loads(out)["usd_if_hosted"] == 4.0  # (0 + 8) / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --pred_csv FILE or --usage_json FILE"),
        (["--pred_csv", "/nowhere/p.csv"], "/nowhere/p.csv: no such file"),
        (["--usage_json", "/nowhere/u.json"], "/nowhere/u.json: no such file"),
        (["--usage_json", "{usage}", "--batch_discount", "-1"], "batch_discount"),
        (["--usage_json", "{usage}", "--model", "x"], "--model x"),
        (["--usage_json", "{usage}", "--config", "/nowhere.yaml"], "/nowhere.yaml: no such file"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    usage = tmp_path / "usage.json"
    usage.write_text('{"prompt_tokens": 1, "completion_tokens": 0}')
    code, _, err = command(capsys, *(word.replace("{usage}", str(usage)) for word in arguments))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
