import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from overnight.cli import main
from overnight.store.files import read_json, write_json
from overnight.store.manifest import read_manifest, write_manifest
from overnight.store.run_folder import RunFolder
from overnight.verifying.finding import Finding
from overnight.verifying.run import verify_run
from tests.unit.captures.made_up_run import write_capture_run

TRIAL = "tiny-uncertainty-00000000"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return write_capture_run(tmp_path / "experiments", n_layers=2, n_tokens=12)


def without_seals(folder: RunFolder) -> None:
    """Take the seals away, so that only schemas speak."""
    manifest = read_manifest(folder)
    trials = {slug: one.model_copy(update={"artifacts": {}}) for slug, one in manifest.trials.items()}
    write_manifest(folder, manifest.model_copy(update={"trials": trials, "artifacts": {}}))


def test_a_run_as_it_was_written_has_no_findings(folder: RunFolder) -> None:
    result = verify_run(folder)
    assert result.findings == ()
    # Of each of two trials captures.jsonl, index.json, projections.parquet, summary.csv; three files of vectors.
    assert result.n_sealed == 11
    assert result.n_read == 11 + 4  # and of five prompts the four that did not fail


def test_a_missing_a_longer_and_an_edited_file_are_told_apart(folder: RunFolder) -> None:
    results = folder.trial(TRIAL).results
    (results / "index.json").unlink()
    with (results / "summary.csv").open("a") as file:
        file.write("\n")
    vectors = folder.path / "vectors/tiny/validity.json"
    vectors.write_bytes(vectors.read_bytes().replace(b"0.0099", b"0.0098"))
    found = {one.file.rpartition("/")[2]: one for one in verify_run(folder).findings}
    assert found.keys() == {"index.json", "summary.csv", "validity.json"}
    assert found["index.json"].found == "no such file"
    assert "overnight resume r1" in found["index.json"].remedy
    assert found["summary.csv"].found.endswith("bytes")
    assert found["validity.json"].found.startswith("sha256 ")
    assert "overnight report r1" in found["validity.json"].remedy


def broken_line(results: Path, run: Path) -> None:
    path = results / "captures.jsonl"
    path.write_text(path.read_text()[:-40])


def fewer_rows(results: Path, run: Path) -> None:
    path = results / "projections.parquet"
    parquet.write_table(parquet.read_table(path).slice(1), path)


def no_parquet(results: Path, run: Path) -> None:
    (results / "projections.parquet").write_bytes(b"PAR1")


def other_columns(results: Path, run: Path) -> None:
    (results / "summary.csv").write_text("prompt_id,trait\n")


def cut_sequence(results: Path, run: Path) -> None:
    path = run / "captures/uncertainty-0.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def no_list_of_files(results: Path, run: Path) -> None:
    write_json(results / "index.json", {"schema_version": 1})


def lost_entry(results: Path, run: Path) -> None:
    index = read_json(results / "index.json")
    write_json(results / "index.json", index | {"files": index["files"][1:]})


def impossible_accuracy(results: Path, run: Path) -> None:
    path = run / "vectors/tiny/validity.json"
    value = read_json(path)
    value["traits"]["uncertainty"]["mean_difference"]["points"][1]["held_out"]["accuracy"] = 1.5
    write_json(path, value)


def impossible_cosine(results: Path, run: Path) -> None:
    (run / "vectors/tiny/superposition.csv").write_text("trait,a\na,2\n")


def no_directions(results: Path, run: Path) -> None:
    (run / "vectors/tiny/directions.safetensors").write_bytes(b"\x00" * 16)


@pytest.mark.parametrize(
    ("damage", "file", "found"),
    [
        (broken_line, f"{TRIAL}/results/captures.jsonl", "not JSON"),
        (fewer_rows, f"{TRIAL}/results/projections.parquet", "rows"),
        (no_parquet, f"{TRIAL}/results/projections.parquet", "no whole Parquet file"),
        (other_columns, f"{TRIAL}/results/summary.csv", "columns"),
        (cut_sequence, "captures/uncertainty-0.safetensors", "not a whole safetensors file"),
        (no_list_of_files, f"{TRIAL}/results/index.json", "files"),
        (lost_entry, f"{TRIAL}/results/index.json", "prompt 'uncertainty-0' is not in the index"),
        (impossible_accuracy, "vectors/tiny/validity.json", "traits.0.points.1.held_out.accuracy"),
        (impossible_cosine, "vectors/tiny/superposition.csv", "'2'"),
        (no_directions, "vectors/tiny/directions.safetensors", "not a whole safetensors file"),
    ],
)
def test_every_file_of_a_capture_is_held_against_its_schema(
    folder: RunFolder, damage: Callable[[Path, Path], None], file: str, found: str
) -> None:
    # Without seals: a file may be as it was written, and written wrong.
    without_seals(folder)
    damage(folder.trial(TRIAL).results, folder.path)
    findings = [one for one in verify_run(folder).findings if one.file == file]
    assert findings
    assert found in findings[0].found
    assert findings[0].wanted
    assert findings[0].remedy
    assert file not in findings[0].found


def test_states_of_another_capture_under_the_same_name_are_told(folder: RunFolder) -> None:
    without_seals(folder)
    first, second = (folder.path / f"captures/uncertainty-{n}.safetensors" for n in (0, 1))
    data = bytearray(first.read_bytes())
    data[-4:] = np.float32(1.0).tobytes()
    first.write_bytes(bytes(data))
    findings = verify_run(folder).findings
    assert any(
        one.file == "captures/uncertainty-0.safetensors" and "another digest" in one.found for one in findings
    )
    assert not any(one.file == f"captures/{second.name}" for one in findings)


def test_a_run_of_any_kind_is_held_against_its_seals(tmp_path: Path, folder: RunFolder) -> None:
    # Nothing of a capture is there: only seals are looked at.
    other = RunFolder(tmp_path / "experiments" / "run_r2")
    write_manifest(
        other,
        read_manifest(folder).model_copy(
            update={"run_id": "r2", "kind": "prompt-sweep", "trials": {}, "artifacts": {}}
        ),
    )
    assert verify_run(other).findings == ()
    other.manifest.write_text("{")
    (finding,) = verify_run(other).findings
    assert isinstance(finding, Finding)
    assert finding.file == "manifest.json"


def leave(arguments: list[str]) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def test_the_command_says_so_and_leaves_with_0_or_1(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--experiments-dir", str(folder.path.parent)]
    assert leave(["verify", "r1", *where]) == 0
    assert "11 sealed files, all of them what was written" in capsys.readouterr().out
    (folder.trial(TRIAL).results / "index.json").unlink()
    assert leave(["verify", "r1", *where]) == 1
    shown = capsys.readouterr()
    assert f"{TRIAL}/results/index.json: no such file; wanted" in shown.out
    assert "1 files are not what they should be" in shown.err
    assert leave(["verify", "r1", "--json", *where]) == 1
    record = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in record["findings"]] == [f"{TRIAL}/results/index.json"]
    assert leave(["verify", "nothing", *where]) == 2
