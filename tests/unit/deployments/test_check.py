from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.workers.process import ProcessWorker

from deployments.check import check
from deployments.declared import Declared, read_declared, shipped_file
from deployments.deploying import check_file
from overnight.errors import UsageError
from overnight.runs.naming import sweep_to_run
from overnight.spec.config_root import shipped_config
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import KINDS

GOOD = {
    "name": "small",
    "entrypoint": "flows.prompt_sweep.prompt_sweep",
    "description": "A small one.",
    "parameters": {"sweep": "quickstart"},
    "work_pool": {"name": "local-gpu"},
}


def at_night(changes: dict[str, Any]) -> dict[str, Any]:
    """Return a schedule with changes of its own: nobody adds any to these."""
    said = {"slug": "n", "cron": "0 1 * * *", "timezone": "Etc/UTC", "parameters": {"changes": changes}}
    return {"schedules": [said]}


def declared(tmp_path: Path, **changes: Any) -> Declared:
    path = tmp_path / "prefect.yaml"
    path.write_text(yaml.safe_dump({"deployments": [GOOD | changes]}))
    return read_declared(path)


@pytest.fixture(scope="module")
def shipped() -> Declared:
    return read_declared(shipped_file())


def test_what_is_shipped_can_be_deployed(shipped: Declared) -> None:
    assert check(shipped) == ()


def test_every_sweep_that_is_shipped_has_a_deployment(shipped: Declared) -> None:
    sweeps = {path.stem for path in (shipped_config() / "sweeps").glob("*.yaml")}
    assert {each.parameters["sweep"] for each in shipped.deployments} == sweeps


def test_nothing_begins_by_itself_before_somebody_turns_it_on(shipped: Declared) -> None:
    schedules = [schedule for each in shipped.deployments for schedule in each.schedules]
    assert schedules
    assert not any(schedule.active for schedule in schedules)


def test_a_night_that_begins_by_itself_ends_by_itself_and_never_meets_another(shipped: Declared) -> None:
    for each in shipped.deployments:
        if each.schedules:
            kind = KINDS[each.label.partition("/")[0]]
            sweep, changes = each.parameters["sweep"], each.parameters.get("changes")
            spec, _ = sweep_to_run(kind, sweep, changes, RunOptions(config_dir=shipped_config()))
            assert spec.execution.deadline == "07:00"
            assert each.concurrency_limit is not None
            assert (each.concurrency_limit.limit, each.concurrency_limit.collision_strategy) == (
                1,
                "CANCEL_NEW",
            )


def test_the_pool_has_every_setting_of_a_process_worker_and_no_other(shipped: Declared) -> None:
    # A setting that the worker lacks would be ignored; one that we lack could not be set for a run.
    pool = next(pool for pool in shipped.pools if pool.name == "local-gpu")
    theirs = ProcessWorker.get_default_base_job_template()
    assert pool.type == ProcessWorker.type
    assert pool.concurrency_limit == 1
    assert pool.base_job_template["job_configuration"] == theirs["job_configuration"]
    ours = pool.base_job_template["variables"]["properties"]
    assert ours.keys() == theirs["variables"]["properties"].keys()
    for name, said in theirs["variables"]["properties"].items():
        types = {"type", "anyOf", "additionalProperties"}
        assert {key: ours[name][key] for key in types & ours[name].keys()} == {
            key: said[key] for key in types & said.keys()
        }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entrypoint": "flows.prompt_sweep.prompt_sweeep"}, "has no flow prompt_sweeep"),
        ({"entrypoint": "flows.nowhere.flow"}, "ModuleNotFoundError: No module named 'flows.nowhere'"),
        ({"entrypoint": "flows.prompt_sweep.Path"}, "has no flow Path"),
        ({"work_pool": {"name": "clutser"}}, "work_pool: found 'clutser', wanted one of cluster, local-gpu"),
        ({"parameters": {}}, "sweep"),
        ({"parameters": {"sweep": "quickstart", "swep": 1}}, "swep"),
        ({"parameters": {"sweep": "quickstrat"}}, "no quickstrat.yaml; did you mean 'quickstart'?"),
        ({"parameters": {"sweep": "traits-quickstart"}}, "found a trait-capture, wanted a prompt-sweep"),
        (
            {"parameters": {"sweep": "quickstart", "changes": {"execution.deadline": "07:00"}}},
            "parameters: found changes, which those of a run would replace and not add to; write the keys into",
        ),
        (
            at_night({"execution.dedline": "07:00"}),
            "unknown key 'execution.dedline'; did you mean 'deadline'?",
        ),
        (
            at_night({"experiment.sweep.models": ["smollm2-135"]}),
            "no smollm2-135.yaml; did you mean 'smollm2-135m",
        ),
        (at_night({"experiment.sweep.prompt_sets": ["terse"]}), "no terse.yaml"),
        (
            at_night({"experiment.datasets": ["starter_opne"]}),
            "no starter_opne.yaml; did you mean 'starter_open'?",
        ),
        (
            {"parameters": {"sweep": "quickstart", "run": {"resume": "perhaps"}}},
            "run.resume: Input should be a valid",
        ),
        (
            {"schedules": [{"slug": "n", "cron": "at ten", "timezone": "Etc/UTC"}]},
            "schedule n: found cron 'at ten'",
        ),
        (
            {
                "schedules": [
                    {"slug": "n", "cron": "0 1 * * *", "timezone": "Etc/UTC", "parameters": {"sweep": "gone"}}
                ]
            },
            "schedule n: ",
        ),
    ],
)
def test_what_is_wrong_with_a_deployment_is_found_without_a_server(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    (finding,) = check(declared(tmp_path, **changes))
    assert said in finding.sentence()
    assert "\n" not in finding.sentence()
    with pytest.raises(UsageError, match=r"prefect\.yaml: "):
        check_file(tmp_path / "prefect.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entrypoint": "flows/prompt_sweep.py:prompt_sweep"}, "deployments.0.entrypoint: found"),
        ({"descriptoin": ""}, "unknown key 'deployments.0.descriptoin'; did you mean 'description'?"),
        (
            {"concurrency_limit": {"limit": 1, "collision_strategy": "WAIT"}},
            "collision_strategy: found 'WAIT'",
        ),
        (
            {"schedules": [{"slug": "n", "cron": "0 1 * * *", "timezone": "Berlin"}]},
            "timezone: found 'Berlin', wanted a time zone such as Europe/Berlin",
        ),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_the_place(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        declared(tmp_path, **changes)
    assert said in str(raised.value)


def test_two_deployments_of_one_flow_have_two_names(tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text(yaml.safe_dump({"deployments": [GOOD, GOOD]}))
    with pytest.raises(UsageError, match="prompt-sweep/small stands twice; rename one"):
        read_declared(path)


def test_runs_work_in_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert declared(tmp_path).folder == tmp_path
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # where there is no such file: the shipped one, for runs that work here
    assert read_declared().folder == elsewhere
