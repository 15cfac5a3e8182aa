import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from overnight.engines.protocol import Completion
from overnight.errors import EngineCrashed, StopRequested
from overnight.planning.requests import Request
from overnight.records import FinishReason
from overnight.runs.building import build_requests
from overnight.runs.measuring import begin_stretch, measure
from overnight.runs.opening import create_run
from overnight.runs.predicting import predict_run
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, validate
from overnight.spec.run_options import RunOptions
from overnight.store.files import read_json
from overnight.store.journal import Journal, read_rows
from overnight.store.manifest import read_manifest
from overnight.telemetry.energy import Counters
from overnight.telemetry.sensors import Sample, SystemReading
from overnight.telemetry.table import SampleTable
from tasks import trials
from tasks.trials import TrialWork

# The step that generates, as a run calls it, with an engine that needs no model.


class CountingEngine:
    """Answers after a moment; ten prompt tokens, of which four come from the prefix cache, and two written."""

    error: Exception | None = None

    async def complete(self, request: Request) -> Completion:
        if self.error:
            raise self.error
        await asyncio.sleep(0.001)
        return Completion(
            text=request.custom_id,
            finish_reason=FinishReason.STOP,
            prompt_tokens=10,
            cached_tokens=4,
            completion_tokens=2,
            token_logprobs=None,
            latency_s=0.001,
            sent={},
        )

    async def recover(self) -> None:
        raise EngineCrashed("gone")

    async def close(self) -> None:
        return


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> CountingEngine:
    """Stand in for the engine, Prefect's artifact and NVML, whose counter grows by 500 mJ a reading."""
    found = CountingEngine()
    readings = iter(range(0, 100_000, 500))

    @asynccontextmanager
    async def no_artifact(_: str) -> AsyncIterator[None]:
        yield

    monkeypatch.setattr(trials, "connect", lambda *_: found)
    monkeypatch.setattr(trials, "progress_artifact", no_artifact)
    monkeypatch.setattr("overnight.runs.trials.read_state", lambda _: _State())
    monkeypatch.setattr(
        "overnight.runs.measuring.read_counters", lambda: Counters(millijoules={"GPU-0": next(readings)})
    )
    return found


class _State:
    slots = 4
    context_tokens = 512


@pytest.fixture
def work(project: Path, tmp_path: Path) -> TrialWork:
    path = project / "sweeps" / "s.yaml"
    spec = resolve(validate(PromptSweepSpec, read_mapping(path, "a sweep"), path), ConfigRoot.of_sweep(path))
    folder = create_run(spec, RunOptions(experiments_dir=tmp_path, run_id="r1"))
    (slug,) = read_manifest(folder).trials
    found = TrialWork(folder.path, slug)
    build_requests(folder, found.plan, found.trial)
    return found


@pytest.mark.usefixtures("engine")
def test_a_trial_leaves_its_seconds_its_joules_and_a_rate_for_the_next_plan(work: TrialWork) -> None:
    assert predict_run(work.plan, work.spec.execution).run.seconds is None
    assert trials.generate_draws.fn(work) == 12
    record = read_manifest(work.folder).trials[work.trial.slug]
    assert record.energy is not None
    assert record.energy.joules == 0.5
    assert record.timings.inference_s is not None
    run = predict_run(work.plan, work.spec.execution).run
    # The same work again takes as long as it did (to the rounding of a millisecond).
    assert run.seconds == pytest.approx(record.timings.inference_s, abs=0.002)
    assert (run.prompt_tokens, run.completion_tokens) == (120, 24)


@pytest.mark.usefixtures("engine")
def test_taking_the_rate_of_a_trial_holds_no_replies(work: TrialWork) -> None:
    # Its journal may have millions of them: 12 of a megabyte each are more than all else that is held.
    journal = work.folder.trial(work.trial.slug).journal
    trials.generate_draws.fn(work)
    rows = [row | {"text": "x" * 1_000_000} for row in read_rows(journal)]
    journal.unlink()
    with Journal(journal) as written:
        written.append(rows)
    stretch = replace(begin_stretch(work.folder, work.trial.slug), n_rows_before=0)
    before = measure(work.folder, work.plan, work.trial, stretch, inference_s=1.0, load_s=None)
    del rows
    tracemalloc.start()
    again = measure(work.folder, work.plan, work.trial, stretch, inference_s=1.0, load_s=None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert before is not None
    assert again == before
    assert before.n_requests == 12
    assert peak < 6_000_000  # two or three of them while one is read


def test_a_stretch_that_was_stopped_counts_and_is_no_rate(work: TrialWork, engine: CountingEngine) -> None:
    work.folder.stop_request.touch()
    with pytest.raises(StopRequested):
        trials.generate_draws.fn(work)
    work.folder.stop_request.unlink()
    record = read_manifest(work.folder).trials[work.trial.slug]
    assert record.energy is not None
    assert record.energy.joules == 0.5
    assert record.timings.inference_s is not None
    assert predict_run(work.plan, work.spec.execution).run.seconds is None

    assert engine.error is None
    trials.generate_draws.fn(work)
    after = read_manifest(work.folder).trials[work.trial.slug]
    assert after.energy is not None
    assert after.energy.joules == 1.0


def test_trials_that_take_turns_have_the_samples_of_their_own_turns(
    work: TrialWork, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = SampleTable(work.folder.samples("tiny"))
    now = datetime.now(UTC)
    n = 0

    def look() -> None:
        nonlocal n
        table.append(Sample(t_s=n, at=now, period_s=1, system=SystemReading(ram_used_bytes=n)))
        n += 1

    async def answer(request: Request) -> Completion:
        look()
        return await CountingEngine.complete(engine, request)

    look()  # while the model was loaded
    monkeypatch.setattr(engine, "complete", answer)
    trials.ask_in_rounds.fn(work.folder.path, "tiny", now + timedelta(hours=1), skip_build=False)
    table.close()
    telemetry = read_manifest(work.folder).trials[work.trial.slug].telemetry
    assert telemetry is not None
    ram = telemetry.signal("ram_used_bytes")
    assert ram is not None
    assert (ram.n, ram.min, ram.max) == (12, 1, 12)
    assert telemetry.requests.finish_reasons == {"stop": 12}
    part = work.folder.trial(work.trial.slug).part_state(work.plan.parts[0].name)
    assert read_json(part)["telemetry"]["samples"] == 12
