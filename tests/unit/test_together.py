import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from overnight.engines.state import EngineState
from overnight.planning.plan import ModelBlock, Plan
from overnight.runs import measuring
from overnight.runs.ending import end_block, end_run
from overnight.runs.machine_record import add_window, describe_run
from overnight.runs.measuring import begin_stretch
from overnight.runs.opening import create_run, load_plan
from overnight.runs.resolving import resolve
from overnight.runs.stepping import note_step
from overnight.runs.together import models_beside, note_together, sharing_cores
from overnight.runs.trials import begin_trial, note_interrupted
from overnight.spec.config_root import ConfigRoot
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, validate
from overnight.spec.run_options import RunOptions
from overnight.store.manifest import Energy, TrialState, read_manifest
from overnight.store.run_folder import RunFolder
from overnight.telemetry.cores import physical_cores
from overnight.telemetry.energy import Counters
from overnight.telemetry.sampler import Sampler
from overnight.telemetry.sensors import DeviceReading, MachineSensors, Sample, SystemReading
from overnight.telemetry.table import SampleTable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODELS = ("tiny", "other", "third")


@pytest.fixture
def run(project: Path, tmp_path: Path) -> tuple[RunFolder, Plan]:
    """Return a planned run of three models, one trial each."""
    tiny = (project / "models/tiny.yaml").read_text()
    for name in MODELS[1:]:
        (project / f"models/{name}.gguf").write_text(f"GGUF {name}")
        (project / f"models/{name}.yaml").write_text(tiny.replace("tiny.gguf", f"{name}.gguf"))
    path = project / "sweeps/s.yaml"
    path.write_text(path.read_text() + f"  sweep: {{models: [{', '.join(MODELS)}]}}\n")
    spec = resolve(validate(PromptSweepSpec, read_mapping(path, "a sweep"), path), ConfigRoot(project))
    folder = create_run(spec, RunOptions(run_id="r", experiments_dir=tmp_path))
    return folder, load_plan(folder, spec)


def test_threads_that_write_the_manifest_at_once_lose_nothing_of_each_other(
    run: tuple[RunFolder, Plan],
) -> None:
    # Every change that a block or a trial makes while other blocks run: read, change, replace, under one lock.
    folder, plan = run
    n_times, together = 3, threading.Barrier(len(plan.blocks))

    def work(block: ModelBlock) -> None:
        (trial,) = block.trials
        together.wait()
        for n in range(n_times):
            begin_trial(folder, trial.slug)
            note_interrupted(folder, trial.slug, 1.0, Energy(joules=2.0))
            add_window(folder, trial.slug, (10 * n, 10 * n + 5))
            note_step(folder, block, None, block.held, f"step {n}")
            end_block(folder, block, EngineState(status="serving", loads=1, restarts=2), NOW)

    with ThreadPoolExecutor(len(plan.blocks)) as pool:
        for future in [pool.submit(work, block) for block in plan.blocks]:
            future.result()
    manifest = read_manifest(folder)
    for block in plan.blocks:
        record, trial = manifest.blocks[block.model.name], manifest.trials[block.trials[0].slug]
        assert (record.loads, record.restarts) == (n_times, 2 * n_times)
        assert [step["reason"] for step in record.rung_history] == [f"step {n}" for n in range(n_times)]
        assert trial.state is TrialState.RUNNING
        assert trial.timings.inference_s == n_times
        assert trial.energy == Energy(joules=2.0 * n_times)
        assert trial.telemetry is not None
        assert len(trial.telemetry.windows) == n_times
    end_run(folder, TrialState.DONE)
    assert read_manifest(folder).blocks == manifest.blocks


def test_the_manifest_says_beside_whom_each_model_was_held(run: tuple[RunFolder, Plan]) -> None:
    folder, plan = run
    note_together(folder, ("tiny", "third"))
    beside = {name: block.beside for name, block in read_manifest(folder).blocks.items()}
    assert beside == {"tiny": ("third",), "other": (), "third": ("tiny",)}
    slugs = {block.model.name: block.trials[0].slug for block in plan.blocks}
    assert models_beside(folder, slugs["third"]) == ("tiny",)
    note_together(folder, ("tiny",))  # resumed, and alone this time
    assert models_beside(folder, slugs["tiny"]) == ()


def test_what_a_gpu_used_for_several_models_is_no_ones_energy(
    run: tuple[RunFolder, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A counter is of the whole device: each trial would claim what all of them used.
    folder, plan = run
    readings = iter((1000, 4000, 1000, 4000))
    monkeypatch.setattr(measuring, "read_counters", lambda: Counters(millijoules={"GPU": next(readings)}))
    slug = plan.blocks[0].trials[0].slug
    assert begin_stretch(folder, slug, models_beside(folder, slug)).so_far()[1] == Energy(joules=3.0)
    note_together(folder, ("tiny", "other"))
    energy = begin_stretch(folder, slug, models_beside(folder, slug)).so_far()[1]
    assert energy.joules is None
    assert energy.undefined_because == "other used the GPUs at the same time"


def sample(t_s: float) -> Sample:
    gpu = DeviceReading(device="GPU-0", board="GPU-0", gpu_power_w=100, throttle=())
    at = datetime.fromtimestamp(NOW.timestamp() + t_s, UTC)
    return Sample(at=at, t_s=t_s, period_s=1, devices=(gpu,), system=SystemReading())


def test_the_power_of_a_board_counts_once_however_many_models_were_sampled(
    run: tuple[RunFolder, Plan],
) -> None:
    # Ten seconds at 100 W are 1000 J, seen by one sampler or by two.
    folder, _ = run
    for name, offset in (("tiny", 0.0), ("other", 0.5)):
        table = SampleTable(folder.samples(name))
        for second in range(10 if offset else 11):
            table.append(sample(second + offset))
        table.close()
    describe_run(folder, "tiny", Sampler(lambda: MachineSensors(lambda: None), hz=1))
    telemetry = read_manifest(folder).telemetry
    assert telemetry is not None
    assert telemetry.machine.samples == 21
    assert telemetry.machine.energy_j == pytest.approx(1000)


def test_models_on_the_same_cores_divide_them() -> None:
    alone = Execution()
    assert sharing_cores(alone, 1) is alone
    assert sharing_cores(alone, 2).engine.threads == max(1, physical_cores() // 2)
    assert sharing_cores(alone, 1000).engine.threads == 1
    said = Execution(engine=EngineSettings(threads=3))
    assert sharing_cores(said, 2) is said
