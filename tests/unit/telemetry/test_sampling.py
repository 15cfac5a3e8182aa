import json
import threading
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from overnight.engines.state import EngineState, write_state
from overnight.runs import sampling
from overnight.runs.building import build_requests
from overnight.runs.generating import write_part_states
from overnight.runs.opening import create_run
from overnight.runs.resolving import resolve
from overnight.runs.sampling import Watch, engine_pid, sampled, watched
from overnight.spec.config_root import ConfigRoot
from overnight.spec.execution import Execution
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, validate
from overnight.spec.run_options import RunOptions
from overnight.spec.telemetry import TelemetrySettings
from overnight.store.journal import Journal
from overnight.store.manifest import Energy, Timings, TrialRecord, read_manifest, update_manifest
from overnight.telemetry.sensors import DeviceReading, Sample, SystemReading
from overnight.telemetry.table import SampleTable, read_samples
from tasks.trials import TrialWork

AT = datetime(2026, 1, 2, 3, 4, 0, tzinfo=UTC)


@pytest.fixture
def work(project: Path, tmp_path: Path) -> TrialWork:
    path = project / "sweeps" / "s.yaml"
    spec = resolve(validate(PromptSweepSpec, read_mapping(path, "a sweep"), path), ConfigRoot.of_sweep(path))
    folder = create_run(spec, RunOptions(experiments_dir=tmp_path, run_id="r1"))
    (slug,) = read_manifest(folder).trials
    found = TrialWork(folder.path, slug)
    build_requests(folder, found.plan, found.trial)
    return found


def record(work: TrialWork) -> TrialRecord:
    return read_manifest(work.folder).trials[work.trial.slug]


def look(work: TrialWork, seconds: range, watts: float = 100, memory: int = 1 << 30) -> None:
    """Write a sample a second."""
    table = SampleTable(work.folder.samples("tiny"))
    for second in seconds:
        gpu = DeviceReading(
            device="GPU-0",
            board="GPU-0",
            gpu_power_w=watts,
            gpu_memory_used_bytes=memory * (second + 1),
            gpu_utilization_percent=second,
            throttle=(),
        )
        table.append(
            Sample(
                t_s=second,
                at=AT + timedelta(seconds=second),
                period_s=1,
                devices=(gpu,),
                system=SystemReading(ram_used_bytes=second),
            )
        )
    table.close()


def answer(work: TrialWork, second: int, number: int = 0, latency_s: float = 1.5) -> None:
    part = work.plan.parts[0].name
    with Journal(work.folder.trial(work.trial.slug).journal) as journal:
        journal.append(
            [
                {
                    "custom_id": f"c{number}",
                    "part": part,
                    "status": "ok",
                    "finish_reason": "stop",
                    "latency_s": latency_s,
                    "prompt_tokens": 50,
                    "completion_tokens": 3,
                    "at": (AT + timedelta(seconds=second)).isoformat(timespec="milliseconds"),
                }
            ]
        )


def test_a_trial_has_the_samples_of_its_own_stretches_and_percentiles_over_all_of_them(
    work: TrialWork,
) -> None:
    look(work, range(2))  # while the model was loaded
    with watched(work.folder, work.block, work.trial):
        look(work, range(2, 5))
    look(work, range(5, 9))  # another trial's
    with watched(work.folder, work.block, work.trial):  # the run goes on
        look(work, range(9, 11))
    telemetry = record(work).telemetry
    assert telemetry is not None
    ram = telemetry.signal("ram_used_bytes")
    assert ram is not None
    # 2, 3, 4, 9, 10: the middle one is 4, and the mean is weighted by samples.
    assert (ram.n, ram.min, ram.p50, ram.max, ram.mean) == (5, 2, 4, 10, 5.6)
    assert telemetry.signal("cpu_percent") is None
    assert telemetry.machine.throttle == {}
    assert len(telemetry.windows) == 2
    # Two seconds in the first stretch, one in the second; nothing in between.
    assert (telemetry.machine.energy_j, telemetry.machine.energy_covered_s) == (300, 3)


def test_trials_that_take_turns_keep_their_samples_apart_and_neighbours_are_one_window(
    work: TrialWork,
) -> None:
    watch = Watch(work.folder, work.block)
    look(work, range(3))
    watch.was_of(work.trial)
    look(work, range(3, 5))
    watch.was_of(work.trial)
    watch.end()
    telemetry = record(work).telemetry
    assert telemetry is not None
    assert telemetry.machine.samples == 5
    assert len(telemetry.windows) == 1


def test_the_state_of_a_part_says_what_its_requests_and_the_machine_did(work: TrialWork) -> None:
    write_part_states(work.folder, work.plan, work.trial)
    with watched(work.folder, work.block, work.trial):
        look(work, range(10))
        answer(work, second=4, number=0, latency_s=2.0)  # from 2 s on
        answer(work, second=6, number=1, latency_s=1.0)
    path = work.folder.trial(work.trial.slug).part_state(work.plan.parts[0].name)
    state = json.loads(path.read_text())
    found = state["telemetry"]
    assert {name: found[name] for name in list(found)[:6]} == {
        "samples": 2,
        "avg_latency_ms": 1500,
        "max_latency_ms": 2000,
        "p95_latency_ms": 1950,  # between 1 s and 2 s, linearly
        "max_gpu_mem_mb": 7 * 1024,
        "max_gpu_utilization": 6,
    }
    assert found["machine"]["samples"] == 5  # 2 s to 6 s
    assert found["requests"]["finish_reasons"] == {"stop": 2}
    assert state["expected"] == 12


def test_without_samples_a_part_has_its_latencies_and_nulls(work: TrialWork) -> None:
    write_part_states(work.folder, work.plan, work.trial)
    with watched(work.folder, work.block, work.trial):
        answer(work, second=4)
    path = work.folder.trial(work.trial.slug).part_state(work.plan.parts[0].name)
    found = json.loads(path.read_text())["telemetry"]
    assert (found["samples"], found["avg_latency_ms"]) == (1, 1500)
    assert found["max_gpu_mem_mb"] is found["max_gpu_utilization"] is None
    telemetry = record(work).telemetry
    assert telemetry is not None
    assert "nothing was sampled" in str(telemetry.machine.undefined_because)


def note(work: TrialWork, energy: Energy, inference_s: float) -> None:
    update_manifest(
        work.folder,
        lambda m: m.with_trial(work.trial.slug, energy=energy, timings=Timings(inference_s=inference_s)),
    )


def test_power_over_time_stands_in_for_a_counter_that_is_not_there_and_says_so(work: TrialWork) -> None:
    with watched(work.folder, work.block, work.trial):
        look(work, range(11))
        note(work, Energy(undefined_because="no counter"), inference_s=10.2)
    assert record(work).energy == Energy(joules=1000, source="nvml power")


def test_a_counter_is_kept_and_power_that_covers_too_little_is_no_energy(work: TrialWork) -> None:
    with watched(work.folder, work.block, work.trial):
        look(work, range(11))
        note(work, Energy(joules=7), inference_s=10)
    assert record(work).energy == Energy(joules=7)
    note(work, Energy(undefined_because="no counter"), inference_s=30)
    for _ in range(2):
        with watched(work.folder, work.block, work.trial):
            pass
        energy = record(work).energy
        assert energy is not None
        assert energy.joules is None
        assert energy.undefined_because == "no counter; power was read in 10.0 of 30.0 s only"


@pytest.mark.parametrize("broken", ["describe_trial", "add_window", "table_size"])
def test_telemetry_that_cannot_be_written_fails_no_trial(
    work: TrialWork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with watched(work.folder, work.block, work.trial):
        monkeypatch.setattr(sampling, broken, fail)
    assert "No space left" in caplog.text


def test_an_error_of_the_trial_itself_comes_through(work: TrialWork) -> None:
    with pytest.raises(ValueError, match="its own"), watched(work.folder, work.block, work.trial):
        raise ValueError("its own")
    assert record(work).telemetry is not None


def execution(**telemetry: Any) -> Execution:
    return Execution(telemetry=TelemetrySettings(**telemetry))


class Looking:
    """Sensors that count how often they were asked."""

    def __init__(self, enough: threading.Event, error: BaseException | None = None) -> None:
        self.missing = {"gpu": "no GPU here"}
        self._enough, self._error, self._n = enough, error, 0

    def read(self) -> Any:
        self._n += 1
        if self._n >= 2:
            self._enough.set()
        if self._error:
            self._enough.set()
            raise self._error
        return (), SystemReading(ram_used_bytes=5)

    def close(self) -> None:
        return


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., threading.Event]:
    def make(error: BaseException | None = None) -> threading.Event:
        enough = threading.Event()
        monkeypatch.setattr(sampling, "MachineSensors", lambda _: Looking(enough, error))
        return enough

    return make


def test_a_held_model_is_watched_until_it_is_let_go_and_again_when_the_run_goes_on(
    work: TrialWork, stand_in: Callable[..., threading.Event]
) -> None:
    for n_blocks in (1, 2):
        enough = stand_in()
        with sampled(work.folder, work.block, execution(hz=10)):
            assert enough.wait(5)
        assert not any(thread.name == "telemetry" for thread in threading.enumerate())
        telemetry = read_manifest(work.folder).telemetry
        assert telemetry is not None
        assert telemetry.machine.samples == telemetry.cost.samples
        assert telemetry.machine.samples >= 2 * n_blocks
        assert telemetry.missing == {"gpu": "no GPU here"}
        assert telemetry.ended_because == {}
    assert work.folder.samples("tiny").read_text().count("timestamp") == 1


def test_telemetry_that_is_switched_off_leaves_nothing(
    work: TrialWork, stand_in: Callable[..., threading.Event]
) -> None:
    stand_in()
    with sampled(work.folder, work.block, execution(enabled=False)):
        pass
    assert not work.folder.telemetry.exists()
    assert read_manifest(work.folder).telemetry is None


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_sampling_that_breaks_down_is_a_reason_in_the_manifest(
    work: TrialWork, stand_in: Callable[..., threading.Event], error: BaseException
) -> None:
    enough = stand_in(error)
    with sampled(work.folder, work.block, execution()):
        assert enough.wait(5)
    telemetry = read_manifest(work.folder).telemetry
    assert telemetry is not None
    assert telemetry.ended_because["tiny"].startswith(type(error).__name__)
    assert telemetry.machine.samples == 0


def test_what_happens_to_a_block_is_not_changed_by_its_being_watched(
    work: TrialWork, stand_in: Callable[..., threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    stand_in()
    monkeypatch.setattr(sampling, "describe_run", fail)
    with pytest.raises(ValueError, match="its own"), sampled(work.folder, work.block, execution()):
        raise ValueError("its own")


def test_the_process_of_an_engine_is_the_one_that_its_state_names_now(tmp_path: Path) -> None:
    path = tmp_path / "tiny.json"
    pid = engine_pid(path)
    assert pid() is None
    write_state(path, EngineState(status="serving", pid=11))
    assert pid() == 11
    write_state(path, EngineState(status="serving", pid=12))  # the host died and was started again
    assert pid() == 12
    path.write_text("{")
    assert pid() is None
    path.unlink()
    assert pid() is None


def test_a_table_is_read_one_sample_at_a_time(work: TrialWork) -> None:
    # A day at 10 Hz is 864 000 rows.
    look(work, range(1500))
    path = work.folder.samples("tiny")
    tracemalloc.start()
    n = sum(1 for _ in read_samples(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n == 1500
    assert peak < path.stat().st_size  # all of them as values take ten times as much
