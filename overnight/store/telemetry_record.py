"""What the manifest says of the machine while a trial, or a run, ran."""

from overnight.spec.base import Spec


class SignalSummary(Spec):
    """One signal over some time; percentiles interpolate linearly between the values, as NumPy's do.

    Up to 65,536 values the percentiles are exact; beyond that each is off by at most 0.5 % of itself.
    """

    n: int
    min: float
    mean: float
    p50: float
    p95: float
    p99: float
    max: float


Signals = dict[str, SignalSummary | None]  # by name; None: never read


class Machine(Spec):
    """What the sensors said over some time.

    Over several devices memory and power are sums, utilisation and clocks means, the temperature that of the
    hottest; a sum lacks where one device lacks.
    """

    samples: int = 0
    signals: Signals = {}
    devices: dict[str, Signals] = {}  # each by its UUID; where there are several
    throttle: dict[str, float] | None = None  # reason -> share of the samples in which a device gave it
    energy_j: float | None = None  # power over time by the trapezoidal rule; whole boards, whoever used them
    energy_covered_s: float | None = None  # time between samples that were near enough to each other for it
    undefined_because: str | None = None


class RequestSpeeds(Spec):
    """What the journal says of the requests that were sent; empty where the engine measures nothing."""

    finish_reasons: dict[str, int] = {}
    latency_s: SignalSummary | None = None
    prefill_tokens_per_s: SignalSummary | None = None  # of each request: evaluated prompt tokens / prefill_s
    decode_tokens_per_s: SignalSummary | None = None  # of each request: tokens after the first / decode_s


class TrialTelemetry(Spec):
    """The machine and the requests of one trial, over all its stretches."""

    machine: Machine = Machine()
    requests: RequestSpeeds = RequestSpeeds()
    windows: tuple[
        tuple[int, int], ...
    ] = ()  # its rows in ``telemetry/<model>.csv``: first byte, byte behind

    def signal(self, name: str) -> SignalSummary | None:
        """Return what is known of a signal."""
        return self.machine.signals.get(name)


class SamplingCost(Spec):
    """What looking took: wall-clock time of a sample in milliseconds, of which most may be waiting for a driver."""

    samples: int = 0
    mean_ms: float | None = None
    max_ms: float | None = None
    cpu_share: float | None = None  # processor time of the sampler over its time, in [0, 1] of one core

    def plus(self, other: "SamplingCost") -> "SamplingCost":
        """Return the cost of two stretches together."""
        if not self.samples or not other.samples:
            return self if self.samples else other
        n = self.samples + other.samples

        def mean(mine: float | None, theirs: float | None) -> float | None:
            if mine is None or theirs is None:
                return None
            return round((mine * self.samples + theirs * other.samples) / n, 6)

        return SamplingCost(
            samples=n,
            mean_ms=mean(self.mean_ms, other.mean_ms),
            max_ms=max(self.max_ms or 0.0, other.max_ms or 0.0),
            cpu_share=mean(self.cpu_share, other.cpu_share),
        )


class RunTelemetry(Spec):
    """The machine over a whole run: every sample of every model, generating or not."""

    machine: Machine = Machine()
    cost: SamplingCost = SamplingCost()
    missing: dict[str, str] = {}  # sensor -> why it gave nothing
    ended_because: dict[str, str] = {}  # model -> why its sampling ended, or was thinned, before its time
