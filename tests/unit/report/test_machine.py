from datetime import UTC, datetime, timedelta

from overnight.report.page import run_page
from overnight.report.reading import read_run
from overnight.report.run_markdown import run_markdown
from overnight.report.telemetry import read_telemetry
from overnight.report.trial_markdown import trial_markdown
from overnight.store.manifest import read_manifest, update_manifest
from overnight.store.telemetry_record import (
    Machine,
    RequestSpeeds,
    RunTelemetry,
    SamplingCost,
    SignalSummary,
    TrialTelemetry,
)
from overnight.telemetry.sensors import DeviceReading, Sample, SystemReading
from overnight.telemetry.table import SampleTable


def of(mean: float, peak: float) -> SignalSummary:
    return SignalSummary(n=9, min=0, mean=mean, p50=mean, p95=peak, p99=peak, max=peak)


def with_telemetry(folder, telemetry, machine=None) -> None:
    def change(manifest):
        slug = next(iter(manifest.trials))
        changed = manifest.with_trial(slug, telemetry=telemetry)
        return changed.model_copy(update={"telemetry": machine})

    update_manifest(folder, change)


TELEMETRY = TrialTelemetry(
    machine=Machine(
        samples=1234,
        signals={
            "gpu_memory_used_bytes": of(5 * 2**30, 6.5 * 2**30),
            "gpu_power_w": of(201, 250),
            "gpu_utilization_percent": None,
        },
        throttle={"idle": 0.5, "sw_power_cap": 0.25},
    ),
    requests=RequestSpeeds(
        finish_reasons={"length": 2, "stop": 40}, latency_s=of(1.5, 4), decode_tokens_per_s=of(33, 40)
    ),
)


def test_peaks_and_means_of_a_trial_are_in_every_report(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("brief", better_replies), trial("other", better_replies)], questions)
    with_telemetry(folder, TELEMETRY)
    run = read_run(folder)
    for text in (run_page(run), run_markdown(run), trial_markdown(run, run.trials[0])):
        for expected in (
            "Machine",
            "1,234",
            "6.50",
            "201",
            "250",
            "sw power cap 25.0",
            "length 2, stop 40",
            "33.0",
        ):
            assert expected in text
        # A signal that was never read has no column, and nothing stands in for it.
        assert "GPU utilisation" not in text
        assert "idle" not in text
    # The other trial has nothing, and says nothing.
    assert "## Machine" not in trial_markdown(run, run.trials[1])


def test_a_run_without_telemetry_has_no_such_section(make_run, trial, questions, better_replies) -> None:
    run = read_run(make_run([trial("brief", better_replies)], questions))
    assert 'id="machine"' not in run_page(run)
    assert "## Machine" not in run_markdown(run)


def test_reasons_come_from_drivers_and_are_escaped(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    machine = RunTelemetry(
        missing={"gpu_power_w of <b>": "not | supported"},
        ended_because={"tiny": "<script>alert(1)</script>"},
        cost=SamplingCost(samples=3, mean_ms=1.25, max_ms=2, cpu_share=0.0025),
    )
    with_telemetry(folder, TELEMETRY, machine)
    run = read_run(folder)
    page, markdown = run_page(run), run_markdown(run)
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page + markdown
    assert "1.25 ms on average, 0.25 % of one core" in page


def test_sampling_that_never_began_is_said_once(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    with_telemetry(folder, None, RunTelemetry(ended_because={"tiny": "can't start new thread"}))
    run = read_run(folder)
    assert "Telemetry of tiny is not complete: can&#39;t start new thread" in run_page(run)
    assert "## Machine" in run_markdown(run)
    assert "## Machine" not in trial_markdown(run, run.trials[0])


def test_a_table_of_samples_is_drawn_over_all_devices_and_every_sample_counts_once(tmp_path) -> None:
    table = SampleTable(tmp_path / "tiny.csv")
    for n in range(5):
        devices = tuple(
            DeviceReading(
                device=f"GPU-{i}", board=f"GPU-{i}", gpu_memory_used_bytes=(n + 1) << 30, gpu_power_w=50
            )
            for i in range(2)
        )
        table.append(
            Sample(
                t_s=n,
                at=datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=n),
                period_s=1,
                devices=devices,
                system=SystemReading(cpu_percent=10 * n),
            )
        )
    table.close()
    found = {series.name: series for series in read_telemetry(tmp_path)}
    assert list(found) == ["GPU memory, GiB", "GPU power, W", "processor, %"]
    assert (found["GPU memory, GiB"].high, found["GPU power, W"].mean) == (10, 100)
    assert found["processor, %"].n_rows == 5


def test_the_manifest_keeps_telemetry_as_it_was(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    with_telemetry(folder, TELEMETRY, RunTelemetry(machine=TELEMETRY.machine))
    manifest = read_manifest(folder)
    assert next(iter(manifest.trials.values())).telemetry == TELEMETRY
    assert manifest.telemetry == RunTelemetry(machine=TELEMETRY.machine)
