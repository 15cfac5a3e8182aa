"""Samples, added up: a summary of each signal, shares of throttle reasons, energy out of power."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from copy import deepcopy

from overnight.store.telemetry_record import Machine, Signals
from overnight.telemetry.sensors import GPU_SIGNALS, SIGNALS, SYSTEM_SIGNALS, DeviceReading, Sample
from overnight.telemetry.signal_stats import SignalStats

_LONGEST_GAP = 5  # sample periods over which power is still integrated


class Tally:
    """Samples, added up."""

    def __init__(self) -> None:
        self.samples = 0
        self._signals: defaultdict[str, SignalStats] = defaultdict(SignalStats)
        self._only: str | None = None  # the one device that there was so far: what is combined is its own
        self._devices: dict[str, defaultdict[str, SignalStats]] = {}
        self._reasons: Counter[str] = Counter()
        self._n_reasons = 0
        self._energy: dict[str, _Energy] = {}

    def add(self, sample: Sample) -> None:
        """Count a sample in; those of one stretch come in the order of time."""
        self.samples += 1
        self._tell_apart(sample.devices)
        for name, value in combined(sample).items():
            if value is not None:
                self._signals[name].add(value)
        told = [device.throttle for device in sample.devices if device.throttle is not None]
        if told:
            self._n_reasons += 1
            self._reasons.update({reason for reasons in told for reason in reasons})
        for board, watts in _boards(sample).items():
            self._energy.setdefault(board, _Energy()).add(sample.t_s, watts, sample.period_s)

    def _tell_apart(self, devices: Sequence[DeviceReading]) -> None:
        """Count the readings of each device in, from the moment on that there are several."""
        if not self._devices:
            names = {device.device for device in devices} | ({self._only} if self._only else set())
            if len(names) <= 1:
                self._only = next(iter(names), None)
                return
            if self._only:
                known = {name: self._signals[name] for name in GPU_SIGNALS if name in self._signals}
                self._devices[self._only] = defaultdict(SignalStats, deepcopy(known))
        for device in devices:
            own = self._devices.setdefault(device.device, defaultdict(SignalStats))
            for name in GPU_SIGNALS:
                value = getattr(device, name)
                if value is not None:
                    own[name].add(value)

    def break_off(self) -> None:
        """Say that what comes next is another stretch: no energy is between the two."""
        for energy in self._energy.values():
            energy.last = None

    def machine(self, *, why_none: str = "no sample was taken") -> Machine:
        """Return what the samples come to."""
        energies = self._energy.values()
        return Machine(
            samples=self.samples,
            signals=_summaries(self._signals, SIGNALS) if self.samples else {},
            devices={
                device: _summaries(signals, GPU_SIGNALS) for device, signals in sorted(self._devices.items())
            },
            throttle={reason: round(n / self._n_reasons, 6) for reason, n in sorted(self._reasons.items())}
            if self._n_reasons
            else None,
            energy_j=round(sum(energy.joules for energy in energies), 3)
            if any(energy.covered_s for energy in energies)
            else None,
            energy_covered_s=round(min(energy.covered_s for energy in energies), 3) if energies else None,
            undefined_because=None if self.samples else why_none,
        )


def combined(sample: Sample) -> dict[str, float | None]:
    """Return each signal of a sample over all its devices, as `Machine` says."""
    devices = sample.devices
    values: dict[str, float | None] = {name: getattr(sample.system, name) for name in SYSTEM_SIGNALS}
    if not devices:
        return values | dict.fromkeys(GPU_SIGNALS)
    if len(devices) == 1:
        return values | {name: getattr(devices[0], name) for name in GPU_SIGNALS}
    for name in GPU_SIGNALS:
        values[name] = _mean(_known(devices, name))
    used = _known(devices, "gpu_memory_used_bytes")
    values["gpu_memory_used_bytes"] = sum(used) if len(used) == len(devices) else None
    # An engine seldom has a process on every device: what is known of it is all there is.
    own = _known(devices, "gpu_process_memory_bytes")
    values["gpu_process_memory_bytes"] = sum(own) if own else None
    values["gpu_temperature_c"] = max(_known(devices, "gpu_temperature_c"), default=None)
    watts = _boards(sample)
    n_boards = len({device.board for device in devices})
    values["gpu_power_w"] = sum(watts.values()) if watts and len(watts) == n_boards else None
    return values


def _known(devices: Sequence[DeviceReading], name: str) -> list[float]:
    return [value for device in devices if (value := getattr(device, name)) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _boards(sample: Sample) -> dict[str, float]:
    """Return the power of every physical device once, however many instances it is divided into."""
    return {device.board: device.gpu_power_w for device in sample.devices if device.gpu_power_w is not None}


class _Energy:
    """Power over time, by the trapezoidal rule, where two readings are near enough to each other."""

    def __init__(self) -> None:
        self.joules = 0.0
        self.covered_s = 0.0
        self.last: tuple[float, float] | None = None

    def add(self, t_s: float, watts: float, period_s: float) -> None:
        last, self.last = self.last, (t_s, watts)
        if last is None:
            return
        step = t_s - last[0]
        # Across a restart of the machine the monotonic clock begins anew.
        if 0 < step <= _LONGEST_GAP * period_s * (1 + 1e-9):
            self.joules += step * (last[1] + watts) / 2
            self.covered_s += step


def _summaries(stats: dict[str, SignalStats], names: Iterable[str]) -> Signals:
    return {name: stats[name].summary() if name in stats else None for name in names}
