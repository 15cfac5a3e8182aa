from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.telemetry.sensors import SIGNALS, DeviceReading, Sample, SystemReading
from overnight.telemetry.signal_stats import RELATIVE_ERROR, SignalStats
from overnight.telemetry.summary import Tally, combined

AT = datetime(2026, 1, 2, tzinfo=UTC)
VALUES = st.lists(st.floats(min_value=-1e12, max_value=1e12, allow_subnormal=False), min_size=1, max_size=200)
SHARES = {"p50": 50, "p95": 95, "p99": 99}


def stats_of(values: list[float], exact_values: int = 1000) -> SignalStats:
    stats = SignalStats(exact_values)
    for value in values:
        stats.add(value)
    return stats


@given(VALUES)
def test_a_summary_is_what_numpy_says(values: list[float]) -> None:
    summary = stats_of(values).summary()
    assert summary is not None
    close = {"rel": 1e-8, "abs": 1e-8 * max(map(abs, values))}  # nine digits are written
    for name, share in SHARES.items():
        assert getattr(summary, name) == pytest.approx(np.percentile(values, share), **close)
    assert summary.mean == pytest.approx(np.mean(values), **close)
    assert (summary.min, summary.max) == (pytest.approx(min(values)), pytest.approx(max(values)))
    assert summary.n == len(values)
    assert summary.min <= summary.p50 <= summary.p95 <= summary.p99 <= summary.max


@given(st.lists(st.floats(min_value=1e-6, max_value=1e14), min_size=12, max_size=200))
def test_many_values_cost_half_a_percent_of_a_percentile_and_nothing_else(values: list[float]) -> None:
    # Ten values are kept as they are here, so that all of these are in buckets.
    summary = stats_of(values, exact_values=10).summary()
    assert summary is not None
    for name, share in SHARES.items():
        assert getattr(summary, name) == pytest.approx(
            np.percentile(values, share), rel=1.001 * RELATIVE_ERROR
        )
    assert (summary.min, summary.max) == (pytest.approx(min(values)), pytest.approx(max(values)))
    assert summary.mean == pytest.approx(np.mean(values))


def test_buckets_keep_zeros_negatives_and_the_order() -> None:
    values = [-40.0, -1.0, 0.0, 0.0, 0.0, 5.0, 100.0]
    summary = stats_of(values, exact_values=2).summary()
    assert summary is not None
    assert (summary.min, summary.p50, summary.max) == (-40, 0, 100)
    assert summary.p95 == pytest.approx(np.percentile(values, 95), rel=RELATIVE_ERROR)


def test_memory_stays_bounded_however_long_a_signal_is() -> None:
    stats = SignalStats(exact_values=100)
    for n in range(50_000):
        stats.add(1 + n % 100)
    assert len(stats._values) + len(stats._buckets) <= 200
    summary = stats.summary()
    assert summary is not None
    assert summary.n == 50_000


def test_no_value_has_no_summary() -> None:
    assert SignalStats().summary() is None
    machine = Tally().machine(why_none="nobody looked")
    assert (machine.samples, machine.signals, machine.throttle, machine.energy_j) == (0, {}, None, None)
    assert machine.undefined_because == "nobody looked"


def device(name: str = "a", board: str | None = None, **values: object) -> DeviceReading:
    return DeviceReading(device=name, board=board or name, **values)  # type: ignore[arg-type]


def sample(t_s: float = 0.0, *devices: DeviceReading, period_s: float = 0.5) -> Sample:
    return Sample(t_s=t_s, at=AT, period_s=period_s, devices=devices, system=SystemReading(ram_used_bytes=7))


def test_devices_are_summed_averaged_or_the_hottest_counts() -> None:
    found = combined(
        sample(
            0,
            device(
                "a", gpu_memory_used_bytes=1, gpu_power_w=10, gpu_utilization_percent=20, gpu_temperature_c=50
            ),
            device(
                "b", gpu_memory_used_bytes=2, gpu_power_w=30, gpu_utilization_percent=40, gpu_temperature_c=70
            ),
        )
    )
    assert (found["gpu_memory_used_bytes"], found["gpu_power_w"]) == (3, 40)
    assert (found["gpu_utilization_percent"], found["gpu_temperature_c"]) == (30, 70)
    assert found["ram_used_bytes"] == 7
    assert set(found) == set(SIGNALS)


def test_a_sum_over_devices_of_which_one_is_silent_is_not_known() -> None:
    found = combined(sample(0, device("a", gpu_power_w=10, gpu_memory_used_bytes=1), device("b")))
    assert found["gpu_power_w"] is None
    assert found["gpu_memory_used_bytes"] is None


def test_two_instances_on_one_board_use_its_power_once() -> None:
    both = (device("m1", "g", gpu_power_w=100), device("m2", "g", gpu_power_w=100))
    assert combined(sample(0, *both))["gpu_power_w"] == 100
    tally = Tally()
    tally.add(sample(0.0, *both))
    tally.add(sample(0.5, *both))
    assert tally.machine().energy_j == 50


def test_energy_is_the_area_under_the_power() -> None:
    # P(t) = 100 t W for 4 s, by the trapezoidal rule exact for a straight line: 100 * 4^2 / 2 J.
    tally = Tally()
    for n in range(9):
        tally.add(sample(n / 2, device(gpu_power_w=50.0 * n)))
    machine = tally.machine()
    assert (machine.energy_j, machine.energy_covered_s) == (800, 4)


def test_power_is_not_integrated_over_a_gap_nor_from_one_stretch_into_the_next() -> None:
    tally = Tally()
    for t_s in (0.0, 0.5, 3.0, 5.6, 6.1):  # 2.5 s are five periods, 2.6 s are more
        tally.add(sample(t_s, device(gpu_power_w=10)))
    assert tally.machine().energy_covered_s == pytest.approx(3.5)
    assert tally.machine().energy_j == pytest.approx(35)
    tally.break_off()
    tally.add(sample(6.2, device(gpu_power_w=10)))
    tally.add(sample(1.0, device(gpu_power_w=10)))  # the machine was started again: its clock too
    assert tally.machine().energy_j == pytest.approx(35)


def test_throttle_shares_are_over_the_samples_that_told() -> None:
    tally = Tally()
    tally.add(sample(0.0, device("a", throttle=("idle",)), device("b", throttle=("idle", "sw_power_cap"))))
    tally.add(sample(0.5, device("a", throttle=())))
    tally.add(sample(1.0, device("a")))
    assert tally.machine().throttle == {"idle": 0.5, "sw_power_cap": 0.5}


def test_several_devices_are_told_apart_and_one_is_not_said_twice() -> None:
    tally = Tally()
    tally.add(sample(0.0, device("a", gpu_temperature_c=50)))
    assert tally.machine().devices == {}
    tally.add(sample(0.5, device("a", gpu_temperature_c=52), device("b", gpu_temperature_c=70)))
    devices = tally.machine().devices
    assert devices["a"]["gpu_temperature_c"] is not None
    assert devices["a"]["gpu_temperature_c"].max == 52
    assert devices["b"]["gpu_power_w"] is None
