import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import serialize_file

from overnight.captures.lines import CaptureLine, piece_text, read_lines
from overnight.captures.reading import check_large, open_sequence, read_captures, read_prompt
from overnight.captures.tensor_file import open_tensors, widened
from overnight.errors import StoreError
from tests.unit.captures.made_up import line, small, write_sequence


def test_a_prompt_comes_back_as_it_was_written(tmp_path: Path) -> None:
    prompt = read_prompt(tmp_path, small(tmp_path))
    assert prompt.tokens == ("Is", " it?", " Per", "haps")
    assert prompt.points == ("0.residual_in", "11.residual_out")
    assert prompt.traits == ("doubt", "warmth")
    assert prompt.projections[3, 1].tolist() == [14, 15]
    assert prompt.z is not None
    assert prompt.z[3, 1, 0] == 3.5
    assert prompt.reply == " Perhaps"


def test_bfloat16_is_widened_without_a_rounding() -> None:
    # 1.0 is 0x3F80 in bfloat16, -2.5 is 0xC020; the smallest of all numbers and both infinities stay what they are.
    bits = np.array([0x3F80, 0xC020, 0x0001, 0x7F80, 0xFF80], "<u2")
    assert widened(bits).tolist() == [1.0, -2.5, 2.0**-133, float("inf"), float("-inf")]


def test_stored_states_are_read_when_asked_for_and_in_each_type(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    states = np.array([[1.0, -2.5], [0.5, 4.0]], np.float32)
    bits = (states.view("<u4") >> 16).astype("<u2")
    spec = pytest.importorskip("safetensors").TensorSpec
    serialize_file(
        {
            "a": spec(dtype="bfloat16", shape=[2, 2], data_ptr=bits.ctypes.data, data_len=bits.nbytes),
            "b": spec(dtype="float32", shape=[2, 2], data_ptr=states.ctypes.data, data_len=states.nbytes),
        },
        path,
        {"n": "1"},
    )
    file = open_tensors(path)
    assert (file.tensors["a"].dtype, file.metadata) == ("BF16", {"n": "1"})
    assert np.array_equal(file.read("a"), states)
    assert np.array_equal(file.read("b"), states)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"schema_version": "2"}, "schema_version '2'"),
        ({"n_prompt": 5}, "n_prompt 5"),
        ({"points": ["0.residual_in"]}, "tensor norms F32 [4, 2], wanted F32 [4, 1]"),
        ({"points": ["0.residual_in", "0.residual_in"]}, "points"),
        ({"points": ["zero.residual_in", "1.residual_in"]}, "points"),
        ({"more": {"z": np.zeros((4, 2, 1), np.float32)}}, "tensor z"),
        ({"more": {"norms": np.zeros((4, 2), np.float64)}}, "tensor norms F64"),
        ({"more": {"weights": np.zeros(4, np.float32)}}, "tensor 'weights'"),
        ({"more": {"norms": np.full((4, 2), np.inf, np.float32)}}, "infinite"),
        ({"more": {"norms": np.full((4, 2), -1, np.float32)}}, "below 0"),
        ({"more": {"token_ids": np.arange(3)}}, "tensor norms F32 [4, 2], wanted F32 [3, 2]"),
        ({"more": {"raw.1.residual_out": np.zeros((4, 8), np.float32)}, "raw_dtype": "int8"}, "raw_dtype"),
    ],
)
def test_a_file_of_another_making_is_refused_with_what_to_do(
    tmp_path: Path, changes: dict[str, object], found: str
) -> None:
    line_of_prompt = small(tmp_path, **changes)
    with pytest.raises(StoreError) as caught:
        read_prompt(tmp_path, line_of_prompt)
    message = str(caught.value)
    assert found in message
    assert str(tmp_path / "captures/p1.safetensors") in message
    assert "overnight resume" in message


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_cut_file_is_refused(tmp_path: Path, keep: int) -> None:
    line_of_prompt = small(tmp_path)
    path = tmp_path / "captures/p1.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"p1\.safetensors: not a whole safetensors file"):
        read_prompt(tmp_path, line_of_prompt)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    line_of_prompt = small(tmp_path)
    (tmp_path / "captures/p1.safetensors").unlink()
    with pytest.raises(StoreError, match=r"p1\.safetensors: no such file"):
        read_prompt(tmp_path, line_of_prompt)


def test_the_file_of_another_sequence_is_refused(tmp_path: Path) -> None:
    other = CaptureLine.model_validate(line("p1", ["a", "b", "c"], 1))
    small(tmp_path)
    with pytest.raises(StoreError, match=r"4 tokens, 2 of them of the prompt; captures.jsonl has 3 and 1"):
        read_prompt(tmp_path, other)


def test_what_is_undefined_is_no_fault(tmp_path: Path) -> None:
    # A direction without length has no projection: NaN in the file, and only there.
    projections = np.full((4, 2, 2), np.nan)
    assert np.isnan(read_prompt(tmp_path, small(tmp_path, projections=projections)).projections).all()


def test_a_capture_without_projections_is_one_of_states(tmp_path: Path) -> None:
    states = np.ones((4, 3), np.float32)
    line_of_prompt = small(
        tmp_path,
        projections=np.zeros((4, 0, 0)),
        points=[],
        traits=[],
        more={"raw.3.residual_out": states},
        raw_dtype="float32",
    )
    prompt = read_prompt(tmp_path, line_of_prompt)
    assert prompt.raw_points == ("3.residual_out",)
    assert np.array_equal(prompt.raw("3.residual_out"), states)


def test_states_that_are_not_finite_are_found(tmp_path: Path) -> None:
    # What is larger than 65,504 is infinite in float16.
    with np.errstate(over="ignore"):
        states = np.full((4, 3), 70_000.0).astype(np.float16)
    small(
        tmp_path,
        more={"z": np.zeros((4, 2, 2), np.float32), "raw.0.residual_in": states},
        raw_dtype="float16",
    )
    file = open_sequence(tmp_path / "captures/p1.safetensors")
    with pytest.raises(StoreError, match=r"raw\.0\.residual_in has values that are not finite.*bfloat16"):
        check_large(file)


def test_weights_of_attention_are_shares(tmp_path: Path) -> None:
    small(tmp_path, more={"attention.3": np.full((2, 4, 4), 1.5, np.float16)})
    with pytest.raises(StoreError, match=r"attention\.3 with values outside \[0, 1\]"):
        check_large(open_sequence(tmp_path / "captures/p1.safetensors"))


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_failed_prompt_is_passed_over_and_keeps_its_reason(tmp_path: Path) -> None:
    small(tmp_path)
    failed = {
        "prompt_id": "p2",
        "group": "g",
        "prompt": "x",
        "error": {"kind": "OutOfMemory", "message": "no room"},
    }
    path = write_lines(tmp_path / "captures.jsonl", line("p1", ["a", "b", "c", "d"], 2), failed)
    assert [one.prompt_id for one in read_captures(tmp_path, path)] == ["p1"]
    assert [one.error for one in read_lines(path)] == [None, "OutOfMemory: no room"]


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "../elsewhere.safetensors"},
        {"path": "/etc/passwd"},
        {"path": None},
        {"error": "failed"},
        {"n_prompt": 4},
        {"n_tokens": 2},
        {"pieces": [{"text": "a"}, {"hex": "zz"}, {"text": "c"}]},
        {"pieces": [{"text": "a"}, {"text": "b", "hex": "62"}, {"text": "c"}]},
        {"pieces": [{"text": "a"}, {}, {"text": "c"}]},
        {"prompt": 3},
    ],
)
def test_a_line_that_cannot_be_is_refused_with_its_place(tmp_path: Path, changes: dict[str, object]) -> None:
    good = line("p1", ["a", "b", "c"], 2)
    path = write_lines(tmp_path / "captures.jsonl", good, line("p2", ["a", "b", "c"], 2) | changes)
    with pytest.raises(StoreError, match=r"captures\.jsonl:2: "):
        list(read_lines(path))


def test_a_cut_line_and_an_id_that_stands_twice_are_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "captures.jsonl", line("p1", ["a"], 1))
    path.write_text(path.read_text() * 2)
    with pytest.raises(StoreError, match=r":2: prompt 'p1' stands twice"):
        list(read_lines(path))
    path.write_text('{"prompt_id": "p1", "gr')
    with pytest.raises(StoreError, match=r":1: not JSON"):
        list(read_lines(path))


def test_part_of_a_character_is_shown_by_its_bytes() -> None:
    assert piece_text({"hex": "f09f"}) == r"\xf0\x9f"
    assert piece_text({"text": "\ud800a"}) == r"\ud800a"
    assert piece_text({"text": "ä"}) == "ä"


def test_a_header_of_many_tokens_is_read_without_their_states(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    write_sequence(path, n_prompt=1, projections=np.zeros((3, 1, 1)), points=["0.residual_in"], traits=["t"])
    assert set(open_sequence(path).tensors) == {"token_ids", "projections", "norms"}
