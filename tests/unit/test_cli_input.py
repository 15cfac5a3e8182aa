import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from overnight.cli import main
from overnight.cli.sweep_options import LoadedSweep, load_sweep
from overnight.errors import UsageError
from overnight.planning.trials import expand_trials
from overnight.runs import opening
from overnight.store.manifest import RunManifest, write_manifest
from overnight.store.run_folder import RunFolder

# --- what a command line makes of a config


def load(project: Path, **changes: Any) -> LoadedSweep:
    options = {key: changes.pop(key) for key in ("assignments", "no_sweep") if key in changes}
    return load_sweep(str(project / "sweeps" / "s.yaml"), changes=changes, **options)


def add(project: Path, text: str) -> None:
    with (project / "sweeps" / "s.yaml").open("a", encoding="utf-8") as file:
        file.write(text)


AXES = "  sweep: {models: [tiny], prompt_sets: [brief], temps: [0.5], top_p: [0.5], top_k: [5]}\n"


@pytest.mark.parametrize(
    ("option", "text", "key", "old", "new"),
    [
        ("models", "twin", "experiment.sweep.models", ["tiny"], ["twin"]),
        ("model_id", "twin", "experiment.sweep.models", ["tiny"], ["twin"]),
        (
            "prompt_sets",
            "calibrated,brief",
            "experiment.sweep.prompt_sets",
            ["brief"],
            ["calibrated", "brief"],
        ),
        ("temps", "0,0.7", "experiment.sweep.temps", [0.5], [0.0, 0.7]),
        ("top_p", "1,0.9", "experiment.sweep.top_p", [0.5], [1.0, 0.9]),
        ("top_k", "0", "experiment.sweep.top_k", [5], [0]),
        ("datasets", "starter_open", "experiment.datasets", ["facts"], ["starter_open"]),
        ("limit_items", 0, "experiment.limit_items", None, 0),
        ("dry_run", True, "experiment.dry_run", None, True),
        ("parts_per_dataset", 2, "execution.parts_per_dataset", None, 2),
        ("lines_per_part", 3, "execution.lines_per_part", None, 3),
        ("max_concurrent_jobs", 9, "execution.max_concurrent_requests", None, 9),
        ("condition", "control", "execution.condition", None, "control"),
    ],
)
def test_an_option_replaces_what_the_config_says_and_is_remembered(
    project: Path, option: str, text: object, key: str, old: object, new: object
) -> None:
    add(project, AXES)
    (project / "models" / "twin.yaml").write_text((project / "models" / "tiny.yaml").read_text())
    loaded = load(project, **{option: text})
    (override,) = loaded.overrides
    assert (override.key, override.old, override.new) == (key, old, new)
    assert override.source == ("--models" if option == "model_id" else f"--{option.replace('_', '-')}")
    assert repr(new) in override.sentence()
    assert repr(old) in override.sentence()
    assert loaded.override_rows == ({"key": key, "old": old, "new": new, "source": override.source},)
    value: Any = loaded.spec
    for part in key.split("."):
        value = getattr(value, part)
    values = value if isinstance(value, tuple) else [value]
    assert [getattr(v, "name", v) for v in values] == (new if isinstance(new, list) else [new])


def test_no_cache_is_an_override_of_the_execution(project: Path) -> None:
    loaded = load(project, no_cache=True)
    (override,) = loaded.overrides
    assert (override.key, override.new, override.source) == ("execution.request_cache", False, "--no-cache")
    assert loaded.spec.execution.request_cache is False
    assert load(project).spec.execution.request_cache is True


def test_several_options_are_several_overrides(project: Path) -> None:
    loaded = load(
        project,
        temps="0,0.7",
        limit_items=3,
        assignments=["experiment.sampling.seed=1", "execution.condition=control"],
    )
    assert [o.key for o in loaded.overrides] == [
        "experiment.sweep.temps",
        "experiment.limit_items",
        "experiment.sampling.seed",
        "execution.condition",
    ]
    assert loaded.spec.experiment.sampling.seed == 1


def test_an_option_that_says_what_the_config_says_is_no_override(project: Path) -> None:
    add(project, AXES)
    assert load(project, temps="0.5", models="tiny").overrides == ()


def test_null_is_said_even_where_the_config_says_nothing(project: Path) -> None:
    # Left out, the margin is its default; null turns the estimate off.
    sweep = load_sweep(
        str(project / "sweeps" / "s.yaml"), changes={}, assignments=["execution.memory_margin=null"]
    )
    assert sweep.spec.execution.memory_margin is None


def test_no_option_is_no_override(project: Path) -> None:
    assert load(project, temps=None, limit_items=None).overrides == ()


def test_a_rehearsal_resolves_to_an_engine_without_a_model(project: Path) -> None:
    (project / "models" / "tiny.gguf").unlink()
    (trial,) = expand_trials(load(project, dry_run=True).spec)
    assert trial.model.engine == "dry_run"


def test_no_sweep_leaves_the_defaults(project: Path) -> None:
    add(project, "  sweep: {top_k: [1, 2, 3]}\n")
    loaded = load(project, no_sweep=True)
    assert [trial.top_k for trial in expand_trials(loaded.spec)] == [50]
    assert [(o.key, o.old, o.new, o.source) for o in loaded.overrides] == [
        ("experiment.sweep", {"top_k": [1, 2, 3]}, None, "--no-sweep")
    ]


def test_no_sweep_leaves_out_explicit_trials_too_and_then_takes_lists(project: Path) -> None:
    add(project, "  trials: [{top_k: 1}, {top_k: 2}]\n")
    loaded = load(project, no_sweep=True, temps="0.7", top_k="7,8")
    assert [(t.top_k, t.temps) for t in expand_trials(loaded.spec)] == [(7, (0.7,)), (8, (0.7,))]


@pytest.mark.parametrize("option", ["models", "model_id", "prompt_sets", "temps", "top_p", "top_k"])
def test_a_list_beside_explicit_trials_is_refused(project: Path, option: str) -> None:
    # It would change nothing: explicit trials win over the sweep.
    add(project, "  trials: [{top_k: 1}]\n")
    with pytest.raises(UsageError, match="lists explicit trials, which a list cannot change; add --no-sweep"):
        load(project, **{option: "1"})


def test_datasets_and_limits_go_with_explicit_trials(project: Path) -> None:
    add(project, "  trials: [{top_k: 1}]\n")
    loaded = load(project, datasets="starter_open", limit_items=4)
    assert [t.top_k for t in expand_trials(loaded.spec)] == [1]
    assert loaded.spec.experiment.limit_items == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temps": "hot"}, "--temps: found 'hot', wanted a float"),
        ({"top_k": "1.5"}, "--top-k: found '1.5', wanted a int"),
        ({"temps": ","}, "--temps: an empty list"),
        ({"models": "tiny", "model_id": "tiny"}, "--model-id and --models both name models"),
        ({"models": "tinny"}, "did you mean 'tiny'"),
        ({"temps": "9"}, "experiment.sweep.temps.0: found 9.0"),
        ({"condition": "none"}, "execution.condition: found 'none'"),
        ({"datasets": "facts,facts"}, "names a dataset twice"),
        ({"assignments": ["experiment.sed=1"]}, "unknown key 'experiment.sed'"),
        ({"assignments": ["limit_items"]}, "wanted key=value"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(
    project: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load(project, **changes)


@pytest.mark.parametrize("experiment", ["experiment: 3\n", "experiment: [a]\n", ""])
@pytest.mark.parametrize("changes", [{}, {"temps": "0"}, {"no_sweep": True}])
def test_a_config_without_an_experiment_is_refused_whatever_the_options(
    project: Path, experiment: str, changes: dict[str, Any]
) -> None:
    (project / "sweeps" / "s.yaml").write_text(f"name: s\n{experiment}")
    with pytest.raises(UsageError, match="experiment"):
        load(project, **changes)


# --- bad input on the command line: exit code 2, one line, nothing written

Say = Callable[..., str]


def left_with(*argv: str) -> object:
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as leaving:
        main(argv)
    return leaving.value.code


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments"
    folder.mkdir()
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(project: Path, experiments: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Return a call of ``overnight run`` that checks code 2, one line and no trace, and gives the line."""

    def call(*options: str, experiments_dir: Path = experiments) -> str:
        before = {name: content for name, content in tree(experiments).items() if not name.endswith(".lock")}
        sweep = str(project / "sweeps" / "s.yaml")
        assert left_with("run", sweep, "--experiments-dir", str(experiments_dir), *options) == 2
        said = capsys.readouterr().err
        assert said.endswith("\n")
        assert said.count("\n") == 1
        assert {
            name: content for name, content in tree(experiments).items() if not name.endswith(".lock")
        } == before
        assert [
            path for path in experiments.iterdir() if path.name not in {Path(n).parts[0] for n in before}
        ] == []
        return said

    return call


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


BAD_FILES: dict[str, tuple[str, str, str, str]] = {
    # What is wrong: the file, what stands in it, what is put there, what the message says.
    "unknown key": (
        "sweeps/s.yaml",
        "datasets:",
        "dataset:",
        "unknown key 'experiment.dataset'; did you mean 'datasets'?",
    ),
    "wrong type": (
        "sweeps/s.yaml",
        "[facts]",
        "facts",
        "experiment.datasets: found 'facts', wanted a valid tuple",
    ),
    "unreadable YAML": (
        "sweeps/s.yaml",
        "[facts]",
        "[facts",
        "s.yaml:4:11: expected ',' or ']', but got ':'",
    ),
    "another kind": ("sweeps/s.yaml", "name: s", "kind: trait-sweep", "kind: found 'trait-sweep'"),
    "missing model": ("sweeps/s.yaml", "tiny", "tinny", "no tinny.yaml; did you mean 'tiny'?"),
    "missing prompt set": ("sweeps/s.yaml", "brief", "brieff", "no brieff.yaml; did you mean 'brief'?"),
    "missing data set": ("sweeps/s.yaml", "[facts]", "[fact]", "no fact.yaml; did you mean 'facts'?"),
    "missing prompt file": ("prompts/brief.yaml", "terse.txt", "gone.txt", "gone.txt: no such file"),
    "empty prompt file": (
        "prompts/terse.txt",
        "You answer in a word or two.",
        "",
        "terse.txt: the file is empty",
    ),
    "missing model file": ("models/tiny.yaml", "tiny.gguf", "gone.gguf", "gone.gguf: no such file"),
    "not a GGUF": ("models/tiny.gguf", "GGUF and", "JPEG and", "begins with b'JPEG', wanted a GGUF file"),
    "wrong sha256": (
        "models/tiny.yaml",
        "family: f",
        f"family: f\nsha256: {'e' * 64}",
        "sha256: the config says eeee",
    ),
    "missing data file": ("datasets/facts.yaml", "facts.jsonl", "gone.jsonl", "gone.jsonl: no such file"),
    "wrong sha256 of data": ("datasets/facts.yaml", "type:", f"sha256: {'e' * 64}\ntype:", "sha256: eeee"),
    "duplicate ids": (
        "datasets/facts.jsonl",
        '"i3"',
        '"i1"',
        "facts.jsonl:4: id 'i1' stands on line 2 already",
    ),
    "no question": (
        "datasets/facts.jsonl",
        '"What is 2?"',
        '""',
        "facts.jsonl:3: question: found '', wanted a text",
    ),
    "no gold answer": ("datasets/facts.jsonl", '["5"]', "[]", "facts.jsonl:6: answers: empty"),
    "not JSON": ("datasets/facts.jsonl", '{"id": "i4"', '"id": "i4"', "facts.jsonl:5: not JSON"),
    "same trial twice": (
        "sweeps/s.yaml",
        "datasets:",
        "trials: [{}, {}]\n  datasets:",
        "stands twice; take one out",
    ),
    "no model at all": ("sweeps/s.yaml", "model: tiny,", "", "experiment.sweep.models: missing"),
}


@pytest.mark.parametrize(("file", "old", "new", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_before_anything_is_written(
    project: Path, refused: Say, file: str, old: str, new: str, message: str
) -> None:
    rewrite(project / file, old, new)
    assert message in refused("--plan-only")


def test_a_data_set_without_items_is_refused(project: Path, refused: Say) -> None:
    (project / "datasets" / "facts.jsonl").write_text("\n")
    assert "facts.jsonl: no items in it; dataset 'facts' needs at least one" in refused()


def test_no_items_are_not_all_items(refused: Say) -> None:
    assert "experiment.limit_items: 0 leaves none of 6 items" in refused("--limit-items", "0")


@pytest.mark.parametrize("run_id", ["../x", "a/b", ".", "a b", "x" * 101, "/tmp/x"])
def test_a_run_id_that_could_leave_the_folder_is_refused(refused: Say, run_id: str) -> None:
    assert f"run id {run_id!r}: wanted letters, digits" in refused("--run-id", run_id)


def planned(project: Path, experiments: Path, capsys: pytest.CaptureFixture[str], *options: str) -> RunFolder:
    sweep = str(project / "sweeps" / "s.yaml")
    assert left_with("run", sweep, "--experiments-dir", str(experiments), "--plan-only", *options) == 0
    capsys.readouterr()
    (path,) = experiments.iterdir()
    return RunFolder(path)


def test_a_run_id_that_exists_is_refused(
    project: Path, experiments: Path, refused: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(project, experiments, capsys, "--run-id", "r1")
    for spelling in ("r1", "run_r1"):
        assert "run r1 exists already" in refused("--run-id", spelling)


def test_a_folder_that_is_no_run_is_not_overwritten(experiments: Path, refused: Say) -> None:
    (experiments / "run_r1").mkdir()
    (experiments / "run_r1" / "thesis.txt").write_text("dear")
    assert "run r1 exists already" in refused("--run-id", "r1")


def test_a_run_of_another_experiment_is_not_gone_on_with(
    project: Path, experiments: Path, refused: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(project, experiments, capsys, "--run-id", "r1")
    said = refused("--resume", "r1", "--temps", "0.7", "--limit-items", "2")
    assert "run r1 is another experiment" in said
    assert "experiment.limit_items, experiment.sweep" in said
    assert "no run of this experiment" in refused("--resume", "--limit-items", "2")
    assert "it has no starter_open.jsonl" in refused("--resume", "r1", "--datasets", "starter_open")


def test_a_run_may_go_on_without_the_cache_and_with_it_again(
    project: Path, experiments: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = planned(project, experiments, capsys, "--run-id", "r1", "--no_cache")
    assert opening.load_spec(folder).execution.request_cache is False
    carried_out = []
    monkeypatch.setattr("overnight.cli.running._carry_out", lambda *given: carried_out.append(given[2]))
    there = ("--experiments-dir", str(experiments))
    assert left_with("resume", "r1", *there) == 0
    assert left_with("resume", "r1", "--set", "execution.request_cache=true", *there) == 0
    assert left_with("resume", "r1", "--no-cache", *there) == 0
    sweep = str(project / "sweeps" / "s.yaml")
    assert left_with("run", sweep, "--resume", "r1", *there) == 0
    # `resume` goes on as the run was planned unless it is told otherwise; `run` goes by its config.
    assert [spec.execution.request_cache for spec in carried_out] == [False, True, False, True]


def test_a_run_of_another_kind_of_experiment_is_not_gone_on_with(experiments: Path, refused: Say) -> None:
    now = datetime.now(UTC)
    other = RunManifest(
        run_id="r1",
        kind="trait-capture",
        name="s",
        fingerprint="f",
        created=now,
        updated=now,
        execution={},
        environment={},
    )
    write_manifest(RunFolder(experiments / "run_r1"), other)
    assert "run r1 is a trait-capture, the config is a prompt-sweep" in refused("--resume", "r1")


def test_a_run_that_is_not_there_is_not_gone_on_with(refused: Say) -> None:
    assert "no run 'r1' in" in refused("--resume", "r1")


@pytest.mark.parametrize(
    "options", [("--from-step", "parse"), ("--only-step", "score"), ("--skip-prepare",), ("--skip-build",)]
)
def test_a_new_run_begins_at_its_beginning(refused: Say, options: tuple[str, ...]) -> None:
    assert "name it with --resume RUN" in refused(*options)


def test_a_new_name_and_an_old_run_exclude_each_other(
    project: Path, experiments: Path, refused: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(project, experiments, capsys, "--run-id", "r1")
    assert "give one of them" in refused("--resume", "r1", "--run-id", "r2")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, refused: Say) -> None:
    # Permissions do not bind root, on whom CI runs; a folder below a file binds everybody.
    (tmp_path / "file").write_text("")
    said = refused(experiments_dir=tmp_path / "file" / "experiments")
    assert "file/experiments: cannot be written to" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_without_permission_is_named(experiments: Path, refused: Say) -> None:
    experiments.chmod(0o555)
    assert "cannot be written to (Permission denied)" in refused()


def test_a_cache_that_cannot_be_written_to_is_named(
    tmp_path: Path, refused: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OVERNIGHT_CACHE_DIR", str(tmp_path / "file"))
    assert "OVERNIGHT_CACHE_DIR" in refused()


def test_a_full_disk_is_said_before_anything_is_written(
    refused: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    assert "0 MB free, this run needs about" in refused()


def test_a_disk_that_fills_while_the_run_is_made_leaves_no_half_of_it(
    project: Path, experiments: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opening, "write_manifest", full)
    sweep = str(project / "sweeps" / "s.yaml")
    assert (
        left_with("run", sweep, "--experiments-dir", str(experiments), "--plan-only", "--run-id", "r1") == 2
    )
    assert "run_r1: cannot be written (No space left on device)" in capsys.readouterr().err
    assert list(experiments.iterdir()) == []


@pytest.mark.parametrize("argument", ["gone.yaml", "gone"])
def test_a_sweep_that_is_not_there_is_named(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert left_with("validate", argument) == 2
    assert capsys.readouterr().err == (
        f"overnight: {argument}: no such file; give a path, or the name of a shipped sweep: "
        "k-sweep-quickstart, k_sweep, k_sweep_no_bootstrap, k_sweep_quick, "
        "prompt-overnight, prompt-quick-validation, quickstart, "
        "traits-gemma-2-2b, traits-llama-3.1-8b, traits-quickstart, "
        "uncertainty-baseline-validation, uncertainty-extensions, uncertainty-full-grid, uncertainty-large-models, "
        "uncertainty-quickstart, uncertainty-small-models\n"
    )


def test_the_process_says_the_same_as_the_function(project: Path, experiments: Path) -> None:
    rewrite(project / "sweeps" / "s.yaml", "experiment:", "experimnt:")
    code = "from overnight.cli import main; main()"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "run",
            str(project / "sweeps" / "s.yaml"),
            "--experiments-dir",
            str(experiments),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    complaint = "unknown key 'experimnt'; did you mean 'experiment'? (and 1 more)"
    assert done.stderr == f"overnight: {project / 'sweeps' / 's.yaml'}: {complaint}\n"
    assert list(experiments.iterdir()) == []


def test_a_run_whose_plan_is_gone_is_shown_as_such(
    project: Path, experiments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(project, experiments, capsys, "--run-id", "r1").plan.unlink()
    assert left_with("show", "r1", "--experiments-dir", str(experiments)) == 2
    assert "plan.json: no such file" in capsys.readouterr().err


def test_what_was_overridden_stands_in_the_run(
    project: Path, experiments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = planned(project, experiments, capsys, "--limit_items", "4", "--temps", "0", "0.7")
    overrides = json.loads(folder.overrides.read_text())
    assert [(o["key"], o["old"], o["new"], o["source"]) for o in overrides] == [
        ("experiment.sweep.temps", None, [0.0, 0.7], "--temps"),
        ("experiment.limit_items", None, 4, "--limit-items"),
    ]
    plan = json.loads(folder.plan.read_text())
    # 4 items x 2 conditions x 2 temperatures
    assert (plan["n_items"], plan["n_requests"]) == (4, 16)
    assert len(folder.items("facts").read_text().splitlines()) == 4


def test_a_sweep_that_is_right_is_valid(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert left_with("validate", str(project / "sweeps" / "s.yaml")) == 0
    assert capsys.readouterr().out == "valid: 1 trials, 6 items, 12 requests, 1 models\n"


def test_a_plan_is_shown_without_a_trace(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    before = tree(project)
    assert left_with("plan", "sweeps/s.yaml", "--limit-items", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["n_requests"] == 4
    assert tree(project) == before
