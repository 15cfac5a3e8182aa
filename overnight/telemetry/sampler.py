"""A thread that looks at the machine a few times a second, and that nothing can make fail a run.

Whatever goes wrong ends the sampling, or thins it, with one line in the log and a reason that the manifest keeps. A
driver that hangs holds up this thread alone; at the end it is waited for a moment and then left behind.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from overnight.errors import OvernightError
from overnight.store.telemetry_record import Machine, SamplingCost
from overnight.telemetry.sensors import Sample, Sensors
from overnight.telemetry.summary import Tally
from overnight.telemetry.table import SampleTable

_LOG = logging.getLogger(__name__)
_FAILURES_IN_A_ROW = 10
_LEAVE_S = 2.0


class Sampler:
    """Samples from ``start`` to ``stop``; a context manager does both.

    Args:
        make_sensors: makes what is asked; called in the sampler's own thread, as are the sensors.
        hz: samples a second; ticks lie on a fixed grid, and one that is missed is left out.
        path: of the table that the samples are appended to; None keeps their sums alone.
        clock: monotonic, in seconds.
        wait: sleeps for some seconds and returns True once it is time to end; None waits for ``stop``.
    """

    def __init__(
        self,
        make_sensors: Callable[[], Sensors],
        *,
        hz: float,
        path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._make_sensors = make_sensors
        self._period_s = 1 / hz
        self._path = path
        self._clock = clock
        self._leaving = threading.Event()
        self._wait = wait or self._leaving.wait
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._tally = Tally()
        self._table: SampleTable | None = None
        self._sensors: Sensors | None = None
        self._took_s = self._longest_s = 0.0
        self._cpu_s: float | None = None
        self._began_s = self._last_s = 0.0
        self._failures = 0
        self.has_table = False
        self.ended_because: str | None = None

    def start(self) -> None:
        """Begin; returns at once, before anything was asked."""
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread can be had
            self._say(f"it could not begin ({error})")

    def stop(self, timeout_s: float = _LEAVE_S) -> None:
        """End; a sensor that does not answer is not waited for any longer than ``timeout_s``."""
        self._leaving.set()
        if self._thread.ident is None:
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._say(
                f"a sensor did not answer within {timeout_s:g} s of the end; its thread was left behind"
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_alive(self) -> bool:
        """True while the thread is there."""
        return self._thread.is_alive()

    @property
    def missing(self) -> dict[str, str]:
        """Why sensors gave nothing, by what they are called."""
        return dict(self._sensors.missing) if self._sensors else {}

    def machine(self) -> Machine:
        """Return what the samples of this sampler come to."""
        return self._tally.machine(why_none=self.ended_because or "no sample was taken")

    def cost(self) -> SamplingCost:
        """Return what the sampling took."""
        n = self._tally.samples
        elapsed_s = self._last_s - self._began_s
        return SamplingCost(
            samples=n,
            mean_ms=round(1000 * self._took_s / n, 3) if n else None,
            max_ms=round(1000 * self._longest_s, 3) if n else None,
            cpu_share=round(self._cpu_s / elapsed_s, 6)
            if self._cpu_s is not None and elapsed_s > 0
            else None,
        )

    def _run(self) -> None:
        try:
            self._sensors = self._make_sensors()
            self._open_table()
            self._sample_on_the_grid()
        except BaseException as error:  # noqa: BLE001 - the end of telemetry is never that of a run
            self._say(_described(error))
        finally:
            for end in (self._sensors and self._sensors.close, self._table and self._table.close):
                try:
                    if end:
                        end()
                except BaseException as error:  # noqa: BLE001 - the same
                    self._say(_described(error))

    def _sample_on_the_grid(self) -> None:
        began_cpu_s = time.thread_time()
        self._began_s = self._clock()
        began_at = datetime.now(UTC)
        tick = 0
        while not self._wait(max(0.0, self._began_s + tick * self._period_s - self._clock())):
            now = self._clock()
            # Wall-clock time that goes on evenly, whatever is done to the clock during the night.
            self._take(now, began_at + timedelta(seconds=now - self._began_s))
            self._last_s = self._clock()
            self._cpu_s = time.thread_time() - began_cpu_s
            tick = max(tick + 1, int((self._last_s - self._began_s) / self._period_s) + 1)

    def _take(self, now: float, at: datetime) -> None:
        sensors = self._sensors
        assert sensors is not None  # noqa: S101 - narrows a type
        try:
            devices, system = sensors.read()
        except Exception as error:
            self._failures += 1
            if self._failures >= _FAILURES_IN_A_ROW:
                raise
            if self._failures == 1:
                self._say(f"a sample was left out ({_described(error)})")
            return
        self._failures = 0
        if self._leaving.is_set():
            return  # it came too late: nobody waits for it any more
        took_s = self._clock() - now
        self._took_s += took_s
        self._longest_s = max(self._longest_s, took_s)
        sample = Sample(t_s=now, at=at, period_s=self._period_s, devices=devices, system=system)
        self._tally.add(sample)
        self._write(sample)

    def _open_table(self) -> None:
        if self._path is None:
            return
        try:
            self._table = SampleTable(self._path)
            self.has_table = True
        except (OSError, OvernightError) as error:
            self._say(f"its samples are not written down ({error})")

    def _write(self, sample: Sample) -> None:
        if self._table is None:
            return
        try:
            self._table.append(sample)
        except OSError as error:
            self.has_table = False
            self._say(f"its samples are not written down any more ({error})")
            table, self._table = self._table, None
            table.close()

    def _say(self, why: str) -> None:
        """Keep the first reason, and log it; the ones that follow from it are not worth a line each."""
        if self.ended_because is None:
            self.ended_because = why
            name = self._path.stem if self._path else "the machine"
            _LOG.warning("telemetry of %s: %s; the run goes on", name, why)


def _described(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
