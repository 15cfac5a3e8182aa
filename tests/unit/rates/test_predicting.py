import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from overnight.cli import main
from overnight.engines.holding import host_settings
from overnight.planning.estimate import Measurement
from overnight.planning.plan import Plan, make_plan, plan_record
from overnight.planning.requests import Request, part_requests
from overnight.planning.work import plan_work
from overnight.records import Item
from overnight.runs.building import build_requests
from overnight.runs.ending import end_run
from overnight.runs.measuring import begin_stretch, measure, note_rate, speed_settings
from overnight.runs.opening import create_run, reopen_run
from overnight.runs.predicting import predict_run
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, validate
from overnight.spec.run_options import RunOptions
from overnight.store.files import read_json
from overnight.store.journal import Journal
from overnight.store.manifest import TrialState, read_manifest, update_manifest
from overnight.store.run_folder import RunFolder
from overnight.telemetry.environment import machine_identity
from overnight.telemetry.rates import read_rates, store_rate

Maker = Callable[..., PromptSweepSpec]
SETS = [
    {"name": "a", "control": "You answer questions.", "treatment": "You answer in a word or two."},
    {"name": "b", "control": "You answer questions.", "treatment": "You answer at length, or not at all."},
]
MODEL_DIGEST = "a" * 64


@pytest.fixture
def spec(make_spec: Maker) -> PromptSweepSpec:
    return make_spec(sweep={"prompt_sets": SETS, "temps": [0, 0.7]}, sampling={"samples_per_item": 2})


@pytest.fixture
def plan(spec: PromptSweepSpec, items: list[Item]) -> Plan:
    return make_plan(spec, items)


def requests_of(plan: Plan, index: int) -> list[Request]:
    return list(
        chain.from_iterable(part_requests(plan.trials[index], part, plan.conditions) for part in plan.parts)
    )


def keep(spec: PromptSweepSpec, plan: Plan, **changes: Any) -> None:
    block = plan.blocks[0]
    settings = speed_settings(host_settings(block.model, Path(), block.context_tokens, spec.execution))
    store_rate(
        Measurement(
            n_requests=10,
            n_truncated=0,
            prompt_tokens=2_000,
            evaluated_tokens=500,
            completion_tokens=100,
            prompt_bytes=8_000,
            new_bytes=2_000,
            limit_tokens=640,
            inference_s=5.0,
            load_s=3.0,
        ),
        model=block.model.name,
        model_digest=MODEL_DIGEST,
        engine=block.model.engine.value,
        machine=machine_identity(),
        settings=settings | changes,
    )


def test_the_work_of_a_trial_is_that_of_its_requests(plan: Plan) -> None:
    for index, trial in enumerate(plan.trials):
        requests = requests_of(plan, index)
        work = plan_work(plan)[trial.slug]
        texts = ["".join(message["content"] for message in r.messages).encode() for r in requests]
        assert work.n_requests == len(requests)
        assert work.prompt_bytes == sum(map(len, texts))
        assert work.limit_tokens == sum(request.max_new_tokens for request in requests)
        assert 0 < work.new_bytes < work.prompt_bytes


def test_an_arm_that_an_earlier_trial_has_asked_is_work_once(plan: Plan) -> None:
    # Two prompt sets with one control text: 7 items x (1 + 2 draws) are shared.
    first, second = plan_work(plan, sharing={"tiny"}).values()
    assert (first.n_requests, first.n_shared) == (42, 0)
    assert (second.n_requests, second.n_shared) == (21, 21)


def test_a_model_that_was_never_measured_here_has_no_minutes(spec: PromptSweepSpec, plan: Plan) -> None:
    run = predict_run(plan, spec.execution).run
    assert run.seconds is None
    assert "no run of tiny was measured on this machine" in str(run.undefined_because)
    assert "--limit-items 20" in str(run.undefined_because)


def test_a_run_takes_its_requests_and_one_load(spec: PromptSweepSpec, plan: Plan) -> None:
    # .5 s a request x 84 requests, of which the cache answers 21, + 3 s of loading; one stretch: half to double
    keep(spec, plan)
    prediction = predict_run(plan, spec.execution)
    assert (prediction.run.seconds, prediction.run.low_s, prediction.run.high_s) == (34.5, 18.75, 66.0)
    assert [part.seconds for part in prediction.trials.values()] == [21.0, 10.5]
    assert json.loads(json.dumps(prediction.as_row(), allow_nan=False))["seconds"] == 34.5


def test_without_the_request_cache_every_arm_is_asked(spec: PromptSweepSpec, plan: Plan) -> None:
    keep(spec, plan)
    uncached = spec.execution.model_copy(update={"request_cache": False})
    assert predict_run(plan, uncached).run.seconds == 45.0


def test_rates_under_other_settings_are_taken_with_a_note(spec: PromptSweepSpec, plan: Plan) -> None:
    keep(spec, plan, slots=1)
    keep(spec, plan, slots=1)
    prediction = predict_run(plan, spec.execution)
    assert prediction.run.n_measurements == 1
    assert "slots 1 instead of 4" in prediction.notes[0]
    keep(spec, plan)
    assert predict_run(plan, spec.execution).notes == ()


def test_a_plan_says_what_larger_samples_could_show(plan: Plan) -> None:
    # ceil(((1.959964 + .841621) x sqrt(.2) / target)^2), by hand
    assert plan_record(plan)["required_items_em"] == {"0.02": 3925, "0.05": 628, "0.1": 157}
    assert plan_record(plan)["predicted"] is None
    assert sum(plan.bytes_per_trial.values()) == plan.bytes_on_disk


# --- from a journal to a rate


@pytest.fixture
def folder(tmp_path: Path, plan: Plan) -> RunFolder:
    run = RunFolder(tmp_path / "run_r1")
    build_requests(run, plan, plan.trials[0])
    return run


def answer(request: Request, **changes: Any) -> dict[str, Any]:
    plain = {
        "custom_id": request.custom_id,
        "status": "ok",
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "cached_tokens": 60,
        "completion_tokens": 5,
    }
    return plain | changes


def journal(folder: RunFolder, plan: Plan, rows: list[dict[str, Any]]) -> None:
    with Journal(folder.trial(plan.trials[0].slug).journal) as file:
        file.append(rows)


def test_a_stretch_measures_what_it_computed_and_nothing_else(folder: RunFolder, plan: Plan) -> None:
    # Two rows stood there before, ten are answers of the cache: 30 of 42 were computed in this stretch.
    trial, requests = plan.trials[0], requests_of(plan, 0)
    journal(folder, plan, [answer(request) for request in requests[:2]])
    stretch = begin_stretch(folder, trial.slug)
    journal(folder, plan, [answer(request, cached=True) for request in requests[2:12]])
    journal(folder, plan, [answer(request, finish_reason="length") for request in requests[12:]])
    found = measure(folder, plan, trial, stretch, inference_s=3.0, load_s=None)
    assert found is not None
    assert (found.n_requests, found.n_truncated) == (30, 30)
    assert (found.prompt_tokens, found.evaluated_tokens, found.completion_tokens) == (3000, 1200, 150)
    assert found.limit_tokens == 30 * 64
    sent = ["".join(m["content"] for m in request.messages) for request in requests[12:]]
    assert found.prompt_bytes == sum(map(len, sent))
    assert 0 < found.new_bytes < found.prompt_bytes


@pytest.mark.parametrize(
    "change", [{"status": "error"}, {"prompt_tokens": None}, {"completion_tokens": None}]
)
def test_a_stretch_with_failures_or_without_counts_measures_nothing(
    folder: RunFolder, plan: Plan, change: dict[str, Any]
) -> None:
    trial, requests = plan.trials[0], requests_of(plan, 0)
    stretch = begin_stretch(folder, trial.slug)
    journal(folder, plan, [answer(requests[0], **change), *map(answer, requests[1:])])
    assert measure(folder, plan, trial, stretch, inference_s=3.0, load_s=None) is None


def test_a_handful_of_answers_measures_nothing(folder: RunFolder, plan: Plan) -> None:
    trial = plan.trials[0]
    stretch = begin_stretch(folder, trial.slug)
    journal(folder, plan, [answer(request) for request in requests_of(plan, 0)[:7]])
    assert measure(folder, plan, trial, stretch, inference_s=3.0, load_s=None) is None


def test_a_cache_that_cannot_be_written_to_fails_no_trial(
    folder: RunFolder, plan: Plan, spec: PromptSweepSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, block = plan.trials[0], plan.blocks[0]
    stretch = begin_stretch(folder, trial.slug)
    journal(folder, plan, [answer(request) for request in requests_of(plan, 0)])
    settings = host_settings(block.model, Path(), block.context_tokens, spec.execution)
    note_rate(folder, plan, block, trial, stretch, settings, 3.0)
    assert len(read_rates(MODEL_DIGEST, "llama_cpp", machine_identity())) == 1
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OVERNIGHT_CACHE_DIR", str(tmp_path / "file"))
    note_rate(folder, plan, block, trial, stretch, settings, 3.0)


# --- in a run folder and on the terminal


@pytest.fixture
def resolved(project: Path) -> PromptSweepSpec:
    path = project / "sweeps" / "s.yaml"
    return resolve(validate(PromptSweepSpec, read_mapping(path, "a sweep"), path), ConfigRoot.of_sweep(path))


def test_a_run_keeps_the_prediction_of_its_evening_and_sets_the_measured_beside_it(
    resolved: PromptSweepSpec, tmp_path: Path, items: list[Item], make_spec: Maker
) -> None:
    experiments = tmp_path / "experiments"
    experiments.mkdir()
    folder = create_run(resolved, RunOptions(experiments_dir=experiments, run_id="r1"))
    estimate = read_manifest(folder).estimate
    assert estimate is not None
    assert (estimate.predicted_s, estimate.n_requests) == (None, 12)
    assert "was measured on this machine" in str(estimate.undefined_because)
    before = read_json(folder.plan)["predicted"]
    assert before["undefined_because"] == estimate.undefined_because

    (slug,) = read_manifest(folder).trials
    update_manifest(
        folder,
        lambda m: m.with_trial(slug, timings=m.trials[slug].timings.model_copy(update={"inference_s": 7.5})),
    )
    end_run(folder, TrialState.DONE)
    after = read_manifest(folder).estimate
    assert after is not None
    assert (after.measured_s, after.predicted_s) == (7.5, None)
    assert after.measured_bytes is not None
    assert after.predicted_bytes is not None
    assert after.measured_bytes > 0

    reopen_run(folder, resolved)
    assert read_json(folder.plan)["predicted"] == before


def test_a_plan_is_shown_with_what_is_unknown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--json"]):
        with pytest.raises(SystemExit) as leaving:
            main(["plan", str(project / "sweeps" / "s.yaml"), *arguments])
        assert leaving.value.code == 0
    out = capsys.readouterr().out
    assert "minutes: unknown: no run of tiny was measured on this machine" in out
    assert "3,925 for 2, 628 for 5, 157 for 10" in out
    record = json.loads(out[out.index("{") :])
    assert record["predicted"]["seconds"] is None
    assert record["blocks"][0]["trials"][0]["predicted_bytes_on_disk"] > 0
