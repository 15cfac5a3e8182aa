import pytest

from overnight.diagnosis.evidence import RunEvidence, Signal, TrialEvidence
from overnight.diagnosis.finding import Severity
from overnight.diagnosis.rules.machine import cpu_bound, low_ram, low_utilisation, thermal

GIB = 2**30


def flat(value: float) -> Signal:
    return Signal(low=value, mean=value, high=value)


def run_with(
    signals: dict[str, Signal], throttle: dict[str, float] | None = None, **changes: object
) -> RunEvidence:
    trial = TrialEvidence(slug="t", model="m", slots=4, signals=signals, throttle=throttle)
    return RunEvidence(run_id="r", cores=8, trials=(trial,), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", [thermal, low_utilisation, cpu_bound, low_ram])
def test_a_machine_without_sensors_is_not_judged(rule) -> None:
    look = rule(run_with({}))
    assert look.findings == ()
    assert look.not_looked_because is not None


@pytest.mark.parametrize(("celsius", "is_found"), [(85, False), (86, True)])
def test_heat_is_found_above_85_degrees(celsius: float, is_found: bool) -> None:
    signal = Signal(low=40, mean=70, high=celsius)
    assert bool(thermal(run_with({"gpu_temperature_c": signal})).findings) is is_found


def test_clocks_that_heat_held_down_are_worse_than_heat_and_a_power_limit_is_none() -> None:
    hot = {"gpu_temperature_c": flat(90)}
    (mild,) = thermal(run_with(hot, {"sw_power_cap": 0.9, "gpu_idle": 0.5})).findings
    (bad,) = thermal(run_with(hot, {"sw_thermal_slowdown": 0.3})).findings
    assert mild.severity is Severity.NOTE
    assert (bad.severity, bad.score) == (Severity.WARNING, 0.3)


@pytest.mark.parametrize(("percent", "is_found"), [(49.9, True), (50, False)])
def test_a_gpu_that_waits_half_of_the_time_is_found(percent: float, is_found: bool) -> None:
    assert bool(low_utilisation(run_with({"gpu_utilization_percent": flat(percent)})).findings) is is_found


def test_an_idle_gpu_gets_more_requests_unless_the_processor_is_the_bottleneck() -> None:
    # More requests at once do not help where the processor cannot feed even those there are.
    idle = {"gpu_utilization_percent": flat(20)}
    (few,) = low_utilisation(run_with(idle | {"cpu_percent": flat(30)})).findings
    (busy,) = low_utilisation(run_with(idle | {"cpu_percent": flat(95)})).findings
    assert [(r.setting, r.old, r.new) for r in few.remedies] == [("execution.max_concurrent_requests", 4, 8)]
    assert [r.setting for r in busy.remedies] == [None]


def test_a_model_that_is_not_on_the_gpu_is_put_there_first() -> None:
    signals = {"gpu_utilization_percent": flat(0), "gpu_process_memory_bytes": flat(0)}
    run = run_with(signals, execution={"engine": {"gpu_layers": 0}})
    remedy = low_utilisation(run).findings[0].remedies[0]
    assert (remedy.setting, remedy.old, remedy.new) == ("execution.engine.gpu_layers", 0, -1)


@pytest.mark.parametrize(("threads", "is_found"), [(8, False), (16, True), (None, False)])
def test_a_busy_processor_is_wrong_only_with_more_threads_than_cores(
    threads: int | None, is_found: bool
) -> None:
    # A model that runs on the processor uses all of it; that is what it is there for.
    run = run_with({"cpu_percent": flat(97)}, execution={"engine": {"threads": threads}})
    findings = cpu_bound(run).findings
    assert bool(findings) is is_found
    if findings:
        remedy = findings[0].remedies[0]
        assert (remedy.setting, remedy.old, remedy.new) == ("execution.engine.threads", 16, 8)


@pytest.mark.parametrize(
    ("total", "left", "is_found"),
    [(16 * GIB, 3.9 * GIB, True), (16 * GIB, 4.1 * GIB, False), (128 * GIB, 12 * GIB, True)],
)
def test_memory_is_low_below_4_gib_or_a_tenth(total: int, left: float, is_found: bool) -> None:
    signal = Signal(low=left, mean=2 * left, high=total)
    run = run_with({"ram_available_bytes": signal}, memory_bytes=total)
    assert bool(low_ram(run).findings) is is_found


def test_why_a_sensor_gave_nothing_is_said_with_it() -> None:
    run = RunEvidence(run_id="r", missing_sensors={"NVML": "there is no driver"})
    assert thermal(run).not_looked_because == (
        "no telemetry has gpu_temperature_c or reasons for lower clocks (NVML: there is no driver)"
    )
