import asyncio
import re
import shlex
import sys
from typing import Any

import pytest
from prefect.utilities.templating import apply_values
from pydantic import ValidationError

from deployments.slurm.script import batch_script
from deployments.slurm.variables import SlurmJob, flow_run_of
from deployments.slurm.worker import SlurmWorker
from overnight.errors import UsageError
from overnight.spec.execution import Execution


def asked(**variables: Any) -> dict[str, str]:
    """Return the long options of sbatch, with their values."""
    arguments = SlurmJob(**variables).sbatch_arguments("an-id")
    return dict(each.removeprefix("--").partition("=")[::2] for each in arguments)


@pytest.mark.parametrize(
    ("num_gpus", "gres", "cores", "is_alone"),
    # As the launcher that this replaces: 16 cores for one GPU, 8 for each of several, 8 GPUs are a node.
    [(0, None, "4", False), (1, "gpu:1", "16", False), (2, "gpu:2", "16", False), (8, "gpu:8", "64", True)],
)
def test_cores_and_the_node_follow_from_the_number_of_gpus(num_gpus, gres, cores, is_alone) -> None:
    found = asked(num_gpus=num_gpus)
    assert (found.get("gres"), found["cpus-per-task"], "exclusive" in found) == (gres, cores, is_alone)


def test_a_nice_job_goes_last_may_be_preempted_and_comes_back() -> None:
    found = asked(nice=True)
    assert (found["nice"], found["qos"]) == ("10000", "preemptable")
    assert "requeue" in found
    assert "no-requeue" in asked(nice=True, requeue=False)
    assert asked(nice=True, qos="long")["qos"] == "long"


def test_a_number_is_that_niceness_and_nothing_else() -> None:
    found = asked(nice=500)
    assert found["nice"] == "500"
    assert "qos" not in found
    assert "no-requeue" in found
    assert "nice" not in asked()


def test_what_is_not_said_is_left_to_the_cluster() -> None:
    found = asked()
    assert not {"partition", "account", "qos", "mem", "constraint", "chdir"} & found.keys()
    assert found["time"] == "24:00:00"


def test_a_job_is_found_again_by_its_flow_run_and_warned_before_its_limit() -> None:
    found = asked(warning_s=90)
    assert flow_run_of(found["comment"]) == "an-id"
    assert found["signal"] == "B:USR1@90"
    assert flow_run_of("somebody's own comment") is None


def test_a_name_of_a_run_becomes_one_that_squeue_can_show() -> None:
    assert asked(job_name="trial: llama 8b/q4\n")["job-name"] == "trial_llama_8b_q4_"


@pytest.mark.parametrize("time", ["30", "30:00", "08:00:00", "2-0", "2-12:30", "1-00:00:00"])
def test_times_are_written_as_slurm_reads_them(time: str) -> None:
    assert asked(time=time)["time"] == time


@pytest.mark.parametrize(
    "wrong", [{"time": "8h"}, {"memory": "64GB"}, {"num_gpus": -1}, {"gpus": 1}, {"nice": "very"}]
)
def test_what_slurm_would_not_understand_is_refused_before(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SlurmJob(**wrong)


def test_the_last_line_takes_the_place_of_the_shell_and_comes_after_the_prologue() -> None:
    # Otherwise SLURM's signals would reach a shell that does not pass them on.
    lines = batch_script(SlurmJob(prologue=("module load cuda", "source venv/bin/activate"))).splitlines()
    assert lines[0] == "#!/bin/bash"
    assert lines[-3:-1] == ["module load cuda", "source venv/bin/activate"]
    assert shlex.split(lines[-1]) == ["exec", sys.executable, "-m", "deployments.slurm.node"]


def test_a_container_has_an_interpreter_of_its_own() -> None:
    job = SlurmJob(container="/images/a b.sif", container_options=("--nv", "--bind=/scratch"))
    assert shlex.split(batch_script(job).splitlines()[-1]) == [
        *("exec", "apptainer", "exec", "--nv", "--bind=/scratch", "/images/a b.sif"),
        *("python", "-m", "deployments.slurm.node"),
    ]


def test_every_variable_of_the_form_has_a_title_a_description_and_a_default() -> None:
    form = SlurmWorker.get_default_base_job_template()
    for name, field in form["variables"]["properties"].items():
        assert {"title", "description", "default"} <= field.keys(), name
    assert form["job_configuration"].keys() == form["variables"]["properties"].keys()


def test_the_form_without_a_word_of_the_user_makes_the_default_job() -> None:
    form = SlurmWorker.get_default_base_job_template()
    made = asyncio.run(SlurmJob.from_template_and_values(form, {}, client=object()))  # type: ignore[arg-type]
    assert made == SlurmJob()
    assert apply_values({"a": "{{ num_gpus }}"}, {"num_gpus": 2}) == {"a": 2}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"gpus": 2}, "job variable gpus: there is none; the pool has account, constraint"),
        ({"time": "8h"}, "job variable time: found '8h'"),
    ],
)
def test_a_wrong_variable_is_one_line(values: dict[str, Any], says: str) -> None:
    form = SlurmWorker.get_default_base_job_template()
    with pytest.raises(UsageError, match=re.escape(says)) as error:
        asyncio.run(SlurmJob.from_template_and_values(form, values, client=object()))  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_pool_has_no_deadline_and_job_variables_have_a_pool() -> None:
    with pytest.raises(ValidationError, match="deadline: it has models take turns"):
        Execution(pool="cluster", deadline="07:00")
    with pytest.raises(ValidationError, match="job_variables: they are those of a pool"):
        Execution(job_variables={"num_gpus": 2})
