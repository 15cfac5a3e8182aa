from pathlib import Path

import pytest

from overnight.errors import UsageError
from overnight.runs.naming import sweep_to_run
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.run_options import RunOptions
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec


def test_a_name_is_looked_up_where_the_run_has_its_configuration(project: Path) -> None:
    run = RunOptions(config_dir=project)
    spec, options = sweep_to_run(PromptSweepSpec, "s", None, run)
    assert spec.experiment.datasets == ("facts",)
    assert options == run


def test_a_name_that_the_configuration_lacks_is_that_of_a_shipped_sweep(project: Path) -> None:
    spec, _ = sweep_to_run(PromptSweepSpec, "quickstart", None, RunOptions(config_dir=project))
    assert spec.name == "quickstart"


def test_changes_are_made_and_remembered_as_those_of_the_command_line_are(project: Path) -> None:
    changes = {"experiment.limit_items": 3, "execution.deadline": "07:00"}
    spec, options = sweep_to_run(PromptSweepSpec, "s", changes, RunOptions(config_dir=project))
    assert (spec.experiment.limit_items, spec.execution.deadline) == (3, "07:00")
    assert options.overrides == (
        {"key": "experiment.limit_items", "old": None, "new": 3, "source": "changes"},
        {"key": "execution.deadline", "old": None, "new": "07:00", "source": "changes"},
    )


def test_a_sweep_that_is_written_out_can_be_changed_too(project: Path) -> None:
    whole, _ = sweep_to_run(PromptSweepSpec, "s", None, RunOptions(config_dir=project))
    spec, options = sweep_to_run(PromptSweepSpec, whole, {"experiment.dry_run": True}, RunOptions())
    assert spec.experiment.dry_run
    assert options.overrides[0]["old"] is False
    assert sweep_to_run(PromptSweepSpec, whole, {}, RunOptions()) == (whole, RunOptions())


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("z", {}, "no z.yaml"),
        (
            "s",
            {"experiment.limit_itmes": 3},
            "unknown key 'experiment.limit_itmes'; did you mean 'limit_items'?",
        ),
        ("s", {"experiment.limit_items": "few"}, "experiment.limit_items: found 'few', wanted "),
        ("s", {"name.first": 1}, "changes: name.first: 'name' is not a mapping"),
        ("uncertainty-quickstart", {}, "found a uncertainty-sweep, wanted a prompt-sweep"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    project: Path, name: str, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        sweep_to_run(PromptSweepSpec, name, changes, RunOptions(config_dir=project))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_sweep_written_out_is_not_of_another_kind(project: Path) -> None:
    spec, _ = sweep_to_run(PromptSweepSpec, "s", None, RunOptions(config_dir=project))
    with pytest.raises(UsageError, match="found a prompt-sweep, wanted a uncertainty-sweep"):
        sweep_to_run(UncertaintySweepSpec, spec, {"name": "t"}, RunOptions())  # type: ignore[arg-type]
