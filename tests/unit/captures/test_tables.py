import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from overnight.captures import table
from overnight.captures.index import read_index, write_index
from overnight.captures.lines import CaptureLine
from overnight.captures.prompt import CapturedPrompt
from overnight.captures.reading import read_prompt
from overnight.captures.summary import COLUMNS, Dynamics, summarised, write_summary
from overnight.captures.table import SCHEMA, check_projections, write_projections
from overnight.errors import StoreError
from tests.unit.captures.made_up import line, small, write_sequence

# Golden 15: the velocity of [0, 1, 3] is [1, 2]. The others stand for definitions that have tests of their own.
DYNAMICS = Dynamics(velocity=np.diff, commitment_position=lambda x: 1, persistence=len)


@pytest.fixture
def prompt(tmp_path: Path) -> CapturedPrompt:
    return read_prompt(tmp_path, small(tmp_path))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return parquet.read_table(path).to_pylist()


def test_row_t_is_the_state_after_token_t_and_names_the_token_that_comes_next(
    tmp_path: Path, prompt: CapturedPrompt
) -> None:
    # By hand: "Is" (100), " it?" (101) | " Per" (102), "haps" (103). The state at the last token of the prompt
    # predicts the first one of the reply; that at the last token predicts one that nobody drew.
    assert write_projections(tmp_path / "projections.parquet", [prompt]) == 16
    rows = [
        row
        for row in rows_of(tmp_path / "projections.parquet")
        if (row["layer"], row["trait"]) == (11, "warmth")
    ]
    names = ("part", "position_of_state", "token_id", "token", "token_predicted_id", "token_predicted")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("prompt", 0, 100, "Is", 101, " it?"),
        ("prompt", 1, 101, " it?", 102, " Per"),
        ("reply", 2, 102, " Per", 103, "haps"),
        ("reply", 3, 103, "haps", None, None),
    ]
    # projections[t, 1, 1] of 0..15 in [4, 2, 2] is 4 t + 3, z a quarter of it.
    assert [row["projection"] for row in rows] == [3, 7, 11, 15]
    assert [row["z"] for row in rows] == [0.75, 1.75, 2.75, 3.75]
    assert {row["sublayer"] for row in rows} == {"residual_out"}
    assert {row["norm"] for row in rows} == {1.0}


def test_what_is_undefined_is_null_and_never_a_number(tmp_path: Path) -> None:
    projections = np.ones((4, 2, 2))
    projections[:, :, 1] = np.nan
    read = read_prompt(tmp_path, small(tmp_path, projections=projections, more={}))
    write_projections(tmp_path / "p.parquet", [read])
    rows = rows_of(tmp_path / "p.parquet")
    assert {row["projection"] for row in rows if row["trait"] == "warmth"} == {None}
    assert {row["projection"] for row in rows if row["trait"] == "doubt"} == {1.0}
    assert {row["z"] for row in rows} == {None}


def test_the_table_has_the_columns_and_types_that_were_promised(
    tmp_path: Path, prompt: CapturedPrompt
) -> None:
    path = tmp_path / "projections.parquet"
    write_projections(path, [prompt, prompt])
    assert parquet.read_schema(path).equals(SCHEMA)
    assert check_projections(path) == []
    column = parquet.ParquetFile(path).metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"


def test_a_long_prompt_in_pieces_is_the_same_table(
    tmp_path: Path, prompt: CapturedPrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pieces bound the memory of a long prompt; the token that a piece predicts last stands in the next piece.
    write_projections(tmp_path / "whole.parquet", [prompt])
    for at_once in (1, 4, 9):
        monkeypatch.setattr(table, "_ROWS_AT_ONCE", at_once)
        write_projections(tmp_path / "pieces.parquet", [prompt])
        assert rows_of(tmp_path / "pieces.parquet") == rows_of(tmp_path / "whole.parquet")


def test_csv_has_the_same_rows(tmp_path: Path, prompt: CapturedPrompt) -> None:
    write_projections(tmp_path / "p.csv", [prompt])
    write_projections(tmp_path / "p.parquet", [prompt])
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    wanted = rows_of(tmp_path / "p.parquet")
    assert [row["token_predicted"] for row in found] == [row["token_predicted"] or "" for row in wanted]
    assert [float(row["projection"]) for row in found] == [row["projection"] for row in wanted]


def test_a_failed_write_leaves_the_old_table(tmp_path: Path, prompt: CapturedPrompt) -> None:
    path = tmp_path / "projections.parquet"
    write_projections(path, [prompt])
    before = path.read_bytes()

    def broken() -> Any:
        yield prompt
        raise StoreError("the second prompt is damaged")

    with pytest.raises(StoreError):
        write_projections(path, broken())
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_prompts_are_written_one_at_a_time(tmp_path: Path, prompt: CapturedPrompt) -> None:
    # Memory stays flat: when the third prompt is asked for, the first two are out of the hands of the caller.
    held: list[int] = []

    def prompts() -> Any:
        for number in range(3):
            held.append(number)
            yield prompt

    assert write_projections(tmp_path / "p.parquet", prompts()) == 48
    assert parquet.ParquetFile(tmp_path / "p.parquet").num_row_groups == 3


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda t: t.drop_columns(["norm"]), "columns"),
        (
            lambda t: t.set_column(2, "position_of_state", pa.array(["x"] * len(t))),
            "position_of_state is string",
        ),
        (lambda t: t.set_column(10, "projection", pa.array([np.inf] * len(t), pa.float32())), "not finite"),
        (lambda t: t.set_column(2, "position_of_state", pa.array([-1] * len(t), pa.int32())), "below 0"),
        (lambda t: t.replace_schema_metadata({}), "schema_version ''"),
    ],
)
def test_a_table_that_was_changed_is_told(
    tmp_path: Path, prompt: CapturedPrompt, change: Any, found: str
) -> None:
    path = tmp_path / "projections.parquet"
    write_projections(path, [prompt])
    parquet.write_table(change(parquet.read_table(path)), path)
    problems = check_projections(path)
    assert problems
    assert found in problems[0][0]


def test_the_summary_by_hand(tmp_path: Path) -> None:
    # One point, one trait: prompt [1, 3], reply [0, 1, 3, -4].
    curve = np.array([1, 3, 0, 1, 3, -4], np.float32).reshape(6, 1, 1)
    tokens = ["a", "b", "c", "d", "e", "f"]
    write_sequence(
        tmp_path / "captures/p1.safetensors",
        n_prompt=2,
        projections=curve,
        points=["5.residual_mid"],
        traits=["doubt"],
    )
    read = read_prompt(tmp_path, CaptureLine.model_validate(line("p1", tokens, 2)))
    (row,) = summarised(read, DYNAMICS)
    assert (row.layer, row.sublayer, row.n_prompt_tokens, row.n_reply_tokens) == (5, "residual_mid", 2, 4)
    assert (row.mean_prompt, row.last_prompt, row.mean_reply) == (2.0, 3.0, 0.0)
    # The largest magnitude is 4, at the sixth token, which is position 5 of prompt and reply.
    assert (row.peak_reply, row.peak_token, row.peak_position) == (-4.0, "f", 5)
    # |1|, |2|, |-7|
    assert row.mean_velocity_abs == pytest.approx(10 / 3)
    # Step 1 of the reply is position 3.
    assert (row.commitment_position, row.persistence_tokens) == (3, 4)
    assert write_summary(tmp_path / "summary.csv", [read], DYNAMICS) == 1
    heading, values = (tmp_path / "summary.csv").read_text().splitlines()
    assert heading == ",".join(COLUMNS)
    assert values.startswith("p1,doubt,5,residual_mid,2,4,2.0,0.0,3.0,-4.0,f,5,3.33")


def test_a_curve_with_an_undefined_value_has_no_summary_of_that_part(tmp_path: Path) -> None:
    projections = np.ones((4, 2, 2))
    projections[3] = np.nan
    rows = list(summarised(read_prompt(tmp_path, small(tmp_path, projections=projections)), DYNAMICS))
    assert {row.mean_prompt for row in rows} == {1.0}
    names = (
        "mean_reply",
        "peak_reply",
        "peak_token",
        "peak_position",
        "mean_velocity_abs",
        "commitment_position",
    )
    assert {getattr(row, name) for row in rows for name in (*names, "persistence_tokens")} == {None}


def test_an_empty_reply_has_nothing_to_sum_up(tmp_path: Path) -> None:
    small(tmp_path, n_prompt=4)
    read = read_prompt(tmp_path, CaptureLine.model_validate(line("p1", ["a", "b", "c", "d"], 4)))
    row = next(summarised(read, DYNAMICS))
    assert (row.n_reply_tokens, row.mean_reply, row.peak_reply, row.mean_velocity_abs) == (
        0,
        None,
        None,
        None,
    )
    assert row.last_prompt == 12.0


def test_the_index_says_what_a_file_holds(tmp_path: Path) -> None:
    of_prompt = small(tmp_path)
    failed = CaptureLine(prompt_id="p2", group="g", prompt="x", error="no room")
    write_index(tmp_path / "index.json", tmp_path, [of_prompt, failed])
    (entry,) = read_index(tmp_path / "index.json").files
    assert (entry.prompt_id, entry.n_prompt, entry.n_tokens) == ("p1", 2, 4)
    assert entry.bytes == (tmp_path / entry.path).stat().st_size
    assert (entry.tensors["z"].dtype, entry.tensors["z"].shape) == ("F32", (4, 2, 2))
    (tmp_path / "index.json").write_text(json.dumps({"schema_version": 1}))
    with pytest.raises(StoreError, match="files"):
        read_index(tmp_path / "index.json")
