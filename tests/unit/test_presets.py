import json
from pathlib import Path

import pytest
import yaml

from overnight.cli import main
from overnight.cli.sweep_options import load_sweep
from overnight.errors import UsageError
from overnight.spec.config_root import ConfigRoot, own_presets, shipped_config
from overnight.spec.model import EngineKind
from overnight.spec.overrides import Overrides
from overnight.spec.preset import Preset, apply_preset

SHIPPED = ("conservative", "quality", "stretch", "throughput")


def write_preset(folder: Path, name: str, text: str) -> None:
    path = folder / "presets" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def exit_code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return left.value.code


def test_the_shipped_presets_are_these() -> None:
    # People name them in scripts; one that is renamed is a broken script.
    assert tuple(sorted(path.stem for path in (shipped_config() / "presets").glob("*.yaml"))) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_preset_is_valid_and_names_a_model_that_there_is(name: str) -> None:
    # A preset is data: nothing else would notice a wrong key or a renamed model before somebody's evening.
    root = ConfigRoot(shipped_config())
    preset = root.preset(name)
    assert isinstance(preset.experiment.defaults.model, str)
    assert root.model(preset.experiment.defaults.model).engine is EngineKind.OLLAMA
    assert preset.description


@pytest.mark.parametrize(
    ("name", "quantization", "at_once", "limits", "context_tokens"),
    [
        # The table of presets in the guide that they come from.
        ("throughput", "Q4_K_M", 2, (512, 1024), 8192),
        ("quality", "Q6_K", 1, (512, 1024), 4096),
        ("stretch", "Q4_K_M", 1, (512, 512), 4096),
        ("conservative", "Q4_K_M", 1, (512, 1024), None),
    ],
)
def test_the_shipped_presets_say_what_the_guide_says(
    name: str, quantization: str, at_once: int, limits: tuple[int, int], context_tokens: int | None
) -> None:
    root = ConfigRoot(shipped_config())
    preset = root.preset(name)
    tokens = preset.experiment.defaults.max_new_tokens
    assert root.model(str(preset.experiment.defaults.model)).quantization == quantization
    assert preset.execution.max_concurrent_requests == at_once
    assert tokens is not None
    assert (tokens.closed, tokens.open) == limits
    assert preset.execution.engine.context_tokens == context_tokens


def test_command_line_wins_over_config_over_preset_and_what_is_taken_is_remembered(project: Path) -> None:
    write_preset(
        project,
        "mine",
        "execution: {max_concurrent_requests: 7, attempts_per_item: 9, engine: {threads: 3}}\n"
        "experiment: {defaults: {max_new_tokens: {closed: 11, open: 12}, top_k: 13}}\n",
    )
    with (project / "sweeps" / "s.yaml").open("a", encoding="utf-8") as file:
        file.write("execution: {attempts_per_item: 2}\n")
    loaded = load_sweep(str(project / "sweeps" / "s.yaml"), changes={"max_concurrent_jobs": 5}, preset="mine")
    assert loaded.spec.execution.max_concurrent_requests == 5
    assert loaded.spec.execution.attempts_per_item == 2
    assert loaded.spec.execution.engine.threads == 3
    assert loaded.spec.experiment.defaults.max_new_tokens.open == 12
    assert loaded.kept == ("execution.max_concurrent_requests", "execution.attempts_per_item")
    taken = {override.key for override in loaded.overrides if override.source == "--preset mine"}
    assert taken == {
        "execution.engine.threads",
        "experiment.defaults.max_new_tokens.closed",
        "experiment.defaults.max_new_tokens.open",
        "experiment.defaults.top_k",
    }


def test_an_axis_of_the_sweep_is_a_value_of_its_own() -> None:
    # Else the preset's model, that the sweep never asks, would be looked for on a server that may not be there.
    preset = Preset.model_validate(
        {"name": "p", "experiment": {"defaults": {"model": "a", "temps": [0.5], "top_p": 0.5}}}
    )
    swept = Overrides({"experiment": {"sweep": {"models": ["b"], "temps": [0.0]}}})
    assert apply_preset(swept, preset) == ("experiment.defaults.model", "experiment.defaults.temps")
    explicit = Overrides({"experiment": {"trials": [{"model": "b"}, {"model": "c", "temps": [0]}]}})
    assert apply_preset(explicit, preset) == ("experiment.defaults.model",)


def test_the_projects_preset_wins_over_the_users_and_that_over_the_shipped(
    project: Path, own_config: Path
) -> None:
    root = ConfigRoot(project)
    assert root.preset("quality").execution.max_concurrent_requests == 1
    write_preset(own_config, "quality", "execution: {max_concurrent_requests: 21}\n")
    assert root.preset("quality").execution.max_concurrent_requests == 21
    write_preset(project, "quality", "execution: {max_concurrent_requests: 22}\n")
    assert root.preset("quality").execution.max_concurrent_requests == 22


def test_a_measured_preset_goes_to_the_project_that_keeps_presets_else_to_the_user(
    tmp_path: Path, own_config: Path
) -> None:
    project = tmp_path / "config"
    assert own_presets(project) == own_config / "presets"
    (project / "presets").mkdir(parents=True)
    assert own_presets(project) == project / "presets"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("execution: {max_concurent_requests: 2}\n", "max_concurrent_requests"),
        ("experiment: {defaults: {prompt_set: brief}}\n", "prompt_set"),
        ("experiment: {limit_items: 3}\n", "limit_items"),
        ("execution: {pricing: {input_per_million: 1}}\n", "pricing"),
        ("name: other\n", "wanted 'mine'"),
        ("execution: {engine: {threads: 0}}\n", "threads"),
    ],
)
def test_what_a_preset_may_not_say_is_refused_with_its_key(project: Path, text: str, said: str) -> None:
    write_preset(project, "mine", text)
    with pytest.raises(UsageError, match=said):
        load_sweep(str(project / "sweeps" / "s.yaml"), changes={}, preset="mine")


def test_a_preset_that_there_is_not_is_answered_with_those_there_are(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("validate", str(project / "sweeps" / "s.yaml"), "--preset", "nosuch") == 2
    error = capsys.readouterr().err
    assert ", ".join(SHIPPED) in error
    assert exit_code("plan", str(project / "sweeps" / "s.yaml"), "--preset", "qualty") == 2
    assert "did you mean 'quality'?" in capsys.readouterr().err


def test_a_run_keeps_in_its_folder_what_its_preset_gave(project: Path, tmp_path: Path) -> None:
    write_preset(project, "mine", yaml.safe_dump({"execution": {"parts_per_dataset": 2}}))
    arguments = ["run", str(project / "sweeps" / "s.yaml"), "--dry-run", "--plan-only", "--preset", "mine"]
    assert exit_code(*arguments, "--run-id", "a", "--experiments-dir", str(tmp_path / "runs")) == 0
    rows = json.loads((tmp_path / "runs" / "run_a" / "overrides.json").read_text(encoding="utf-8"))
    assert {"key": "execution.parts_per_dataset", "old": None, "new": 2, "source": "--preset mine"} in rows
