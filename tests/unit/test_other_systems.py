import json
import ntpath
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from overnight.errors import StoreError, UsageError, said_below
from overnight.ids import custom_id, is_run_id, item_key, new_run_id, trial_slug
from overnight.processes import apart
from overnight.spec.base import Name
from overnight.store import files
from overnight.store.run_folder import RunFolder, TrialFolder, find_run, is_path
from overnight.store.writers import writer_name

NAME = TypeAdapter(Name)
# Names that only Windows or macOS would not tell apart from others, or not keep, are as likely as all others.
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", fullmatch=True) | st.sampled_from(
    ["con", "NUL", "aux.v2", "Com1", "lpt9", "a.", "a..", "com", "console", "con-1", "nul_", "a.con"]
)
SYSTEMS = ["win32", "darwin"]
_LONGEST = 260  # characters, of a path where long ones were not switched on


def elsewhere(system: str, what: str, folder: Path) -> Any:
    """Run a part of the project as it is on another system; return what it prints as JSON."""
    script = Path(__file__).with_name("another_system.py")
    done = subprocess.run(
        [sys.executable, str(script), system, what, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "OVERNIGHT_CACHE_DIR": str(folder / "cache")},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_module_that_needs_no_model_can_be_imported_there(system: str, tmp_path: Path) -> None:
    # One name that is not there, at the top of one module, and nothing starts: `from signal import SIGKILL` was one.
    found = elsewhere(system, "import", tmp_path)
    assert found["wrong"] == {}
    assert found["imported"] > 500
    assert not [name for name in found["left_out"] if name.startswith(("overnight.cli", "overnight.stats"))]


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_module_can_be_imported_there(system: str, tmp_path: Path) -> None:
    found = elsewhere(system, "import everything", tmp_path)
    assert found["wrong"] == {}
    assert found["left_out"] == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_sweep_is_planned_there_as_it_is_here(
    system: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from overnight.cli import main

    there = elsewhere(system, "plan", project)
    with pytest.raises(SystemExit):
        main(["plan", str(project / "sweeps" / "s.yaml"), "--json"])
    here = json.loads(capsys.readouterr().out)
    assert there["n_requests"] == 12
    assert [there[key] for key in ("fingerprint", "blocks")] == [
        here[key] for key in ("fingerprint", "blocks")
    ]


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of a run's first steps, by system."""
    return {system: elsewhere(system, "work", tmp_path_factory.mktemp(system)) for system in SYSTEMS}


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_a_run_does_first_is_done_there(system: str, worked: dict[str, Any]) -> None:
    found = worked[system]
    assert found["json"] == {"a": 1}
    assert found["journal"]
    assert found["index"]
    assert found["locked"] is False
    assert found["cores"] >= 1
    assert found["free"][0] == "host"
    assert ("Apple GPU" in found["free"]) == (system == "darwin")
    assert found["killed"] == "it said 'std::bad_alloc'"  # Windows ends processes with exit codes
    # Only Linux counts what allocators take: elsewhere a limit would be set and hold nothing.
    assert "this system cannot limit the memory of a process" in found["limited"]


def test_a_run_is_stopped_by_what_a_terminal_of_the_system_sends(worked: dict[str, Any]) -> None:
    # 2 and 15 are SIGINT and SIGTERM; 21 is SIGBREAK, which nothing else takes the place of on Windows.
    assert worked["win32"]["signals"] == [2, 15, 21]
    assert worked["darwin"]["signals"] == [2, 15]


def test_ctrl_c_does_not_reach_the_processes_that_hold_models(worked: dict[str, Any]) -> None:
    # winbase.h: CREATE_NEW_PROCESS_GROUP is 0x200.
    assert worked["win32"]["apart"] == {"creationflags": 0x200}
    assert apart() == {"start_new_session": True}


@pytest.mark.parametrize("name", ["con", "NUL", "aux.v2", "Com1", "lpt9.x.y", "a.", "a.."])
def test_a_name_that_windows_keeps_for_devices_or_cuts_short_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="every system"):
        NAME.validate_python(name)
    assert not is_run_id(name)


@given(NAMES, NAMES)
def test_every_name_of_a_run_is_one_for_windows(model: str, prompt_set: str) -> None:
    try:
        NAME.validate_python(model), NAME.validate_python(prompt_set)
    except ValidationError:
        return
    slug = trial_slug(
        model=model, prompt_set=prompt_set, top_p=0.995, top_k=50, closed=64, opened=128, fingerprint="0" * 64
    )
    root = PureWindowsPath("C:/experiments")
    run = RunFolder(root / f"run_{model}")  # type: ignore[arg-type]
    for path in paths_of(run, slug, model):
        assert path.drive == "C:"
        for part in path.parts[1:]:
            assert is_for_windows(part), part


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_what_a_data_set_calls_its_items_names_no_file(item_id: str) -> None:
    # A custom id holds what Windows lets no name hold; it is a column, and no path is made of one.
    assert "|" in custom_id(item_key("d", item_id), "control", 0.0, 0, "open")
    run = RunFolder(PureWindowsPath("C:/e/run_a"))  # type: ignore[arg-type]
    assert all(item_id not in path.parts for path in paths_of(run, "slug", "m") if len(item_id) > 20)


def test_paths_of_what_is_shipped_are_short_enough_for_windows() -> None:
    # 60 characters are a user's own folder; while a file is written its name is 15 longer.
    root = PureWindowsPath("C:/" + "u" * 57)
    names = sorted(path.stem for path in (Path(__file__).parents[2] / "config" / "models").glob("*.yaml"))
    sets = sorted(path.stem for path in (Path(__file__).parents[2] / "config" / "prompts").glob("*.yaml"))
    slug = trial_slug(
        model=max(names, key=len),
        prompt_set=max(sets, key=len),
        top_p=0.95,
        top_k=100,
        closed=1024,
        opened=1024,
        fingerprint="0" * 64,
    )
    run = RunFolder(root / "experiments" / f"run_{new_run_id()}")  # type: ignore[arg-type]
    longest = max((str(path) for path in paths_of(run, slug, max(names, key=len))), key=len)
    assert len(longest) + 15 < _LONGEST, longest


def test_a_writers_file_has_a_name_for_windows() -> None:
    from datetime import UTC, datetime

    assert is_for_windows(f"{writer_name(datetime.now(UTC), '0' * 8)}.jsonl")


def test_two_names_that_differ_in_capitals_only_are_one_file_elsewhere(project: Path) -> None:
    from overnight.cli.sweep_options import load_sweep

    sweep = project / "sweeps" / "s.yaml"
    for name in ("Facts", "facts"):
        (project / "datasets" / f"{name}.yaml").write_text(
            "type: closed\npath: facts.jsonl\n", encoding="utf-8"
        )
    text = sweep.read_text(encoding="utf-8").replace("[facts]", "[facts, Facts]")
    sweep.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"names a dataset twice.* differs in more than capitals"):
        load_sweep(str(sweep), changes={})


def test_a_file_that_somebody_reads_is_replaced_a_moment_later_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Windows refuses with PermissionError while another process has the file open, as `overnight show` has.
    refusals = iter([PermissionError(13, "used by another process")] * 3)
    replace = Path.replace

    def replace_later(path: Path, target: Path) -> Path:
        for refusal in refusals:
            raise refusal
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_later)
    with pytest.raises(PermissionError):  # here it is a permission, and waiting gives none
        files.write_text(tmp_path / "a", "new")
    monkeypatch.setattr(files, "sys", type("windows", (), {"platform": "win32"}))
    files.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "new"
    assert next(refusals, None) is None
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_path_is_told_from_a_name_by_the_separators_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_path("experiments/run_a")
    assert not is_path("run_a")
    monkeypatch.setattr("os.sep", "\\")
    assert is_path(r"experiments\run_a")
    assert is_path("experiments/run_a")  # Windows takes both


def test_a_path_with_other_separators_is_looked_up_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sep", "\\")
    with pytest.raises(UsageError, match="no run"):  # and not: a run id with wrong characters
        find_run(tmp_path, r"runs\run_a")


def test_errors_name_files_from_the_folder_on_whatever_separates_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert said_below(Path("/r/run_a"), StoreError("/r/run_a/t/x.json: torn")) == "t/x.json: torn"
    monkeypatch.setattr("os.sep", "\\")
    folder = PureWindowsPath(r"C:\r\run_a")
    error = StoreError(rf"{folder}\t\x.json: torn")
    assert said_below(folder, error) == r"t\x.json: torn"  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_an_output_that_lacks_a_character_ends_nothing(encoding: str, tmp_path: Path) -> None:
    # Windows writes into files and pipes with the code page of the country.
    show = "import sys; from overnight.cli import main\ntry:\n main(['--help'])\nexcept SystemExit: print('→ 東京')"
    done = subprocess.run(
        [sys.executable, "-c", show],
        capture_output=True,
        check=False,
        timeout=60,
        env={"PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == b"? ??"


def paths_of(run: RunFolder, slug: str, name: str) -> Iterator[PureWindowsPath]:
    """Yield every path that the classes of a run's folder know."""
    trial = run.trial(slug)
    for folder in (run, trial):
        for key, value in vars(type(folder)).items():
            if isinstance(value, property) and key not in {"run_id", "slug"}:
                yield getattr(folder, key)
    assert isinstance(trial, TrialFolder)
    for made in (
        run.block_lock,
        run.samples,
        run.items,
        run.states,
        run.vectors,
        trial.analysis,
        trial.part_state,
    ):
        yield made(name)
    yield run.batch_inputs(slug) / f"{name}.jsonl"
    yield run.engines / f"{name}.json"
    yield run.engines / f"{name}.log"


def is_for_windows(name: str) -> bool:
    """True where Windows lets a file have that name: Python's own list of devices, and Microsoft's signs."""
    allowed = set(string.printable) - set('<>:"/\\|?*') - set("\t\n\r\x0b\x0c")
    reserved = (
        ntpath.isreserved(name) if hasattr(ntpath, "isreserved") else PureWindowsPath(name).is_reserved()
    )
    return set(name) <= allowed and not name.endswith((".", " ")) and not reserved and len(name) <= 255
