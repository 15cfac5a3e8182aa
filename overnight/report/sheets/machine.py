"""What the machine did while the trials generated, and how their requests went: from the manifest."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from overnight.report import wording as w
from overnight.report.results import RunReport, TrialReport
from overnight.report.sheets.sheet import Row, Sheet
from overnight.store.telemetry_record import Machine, RequestSpeeds, SignalSummary

T = TypeVar("T")
HEADING = "Machine"
_GIB = 1 << 30
# Reasons for which the clocks are low because nobody asked for more.
_NO_FAULT = ("idle", "applications_clocks_setting", "display_clock_setting", "sync_boost")

# (head, signal, which number, unit of the report)
_COLUMNS = (
    ("GPU memory, peak, GiB", "gpu_memory_used_bytes", "max", _GIB),
    ("of the engine, peak, GiB", "gpu_process_memory_bytes", "max", _GIB),
    ("GPU utilisation, mean, %", "gpu_utilization_percent", "mean", 1),
    ("GPU temperature, peak, \u00b0C", "gpu_temperature_c", "max", 1),
    ("GPU power, mean, W", "gpu_power_w", "mean", 1),
    ("GPU power, peak, W", "gpu_power_w", "max", 1),
    ("SM clock, mean, MHz", "gpu_sm_clock_mhz", "mean", 1),
    ("processor, mean, %", "cpu_percent", "mean", 1),
    ("RAM in use, peak, GiB", "ram_used_bytes", "max", _GIB),
    ("RAM free, least, GiB", "ram_available_bytes", "min", _GIB),
    ("engine in RAM, peak, GiB", "host_rss_bytes", "max", _GIB),
)


def machine_sheets(run: RunReport, trials: Sequence[TrialReport] | None = None) -> list[Sheet]:
    """Return what is known of some trials, by default of all; nothing where nothing was noted.

    Columns that would be empty throughout are left out.
    """
    shown = [trial for trial in (run.trials if trials is None else trials) if trial.telemetry]
    machines = [(trial.label, trial.telemetry.machine) for trial in shown if trial.telemetry]
    requests = [(trial.label, trial.telemetry.requests) for trial in shown if trial.telemetry]
    sheets = [_machine_sheet(machines, run), _request_sheet(requests)]
    # What went wrong with the sampling is said once, also where nothing else is known.
    return [sheet for sheet in sheets if sheet.rows or (sheet.notes and trials is None)]


def _machine_sheet(machines: Sequence[tuple[str, Machine]], run: RunReport) -> Sheet:
    seen = [(label, machine) for label, machine in machines if machine.samples]

    def column(signal: str, number: str, unit: float) -> Callable[[Machine], str]:
        return lambda machine: _number(machine.signals.get(signal), number, unit)

    columns: list[tuple[str, Callable[[Machine], str]]] = [("samples", lambda m: w.count(m.samples))]
    columns += [(head, column(*rest)) for head, *rest in _COLUMNS]  # type: ignore[arg-type]
    columns += [("throttled, % of samples", _throttled)]
    head, rows = _table(seen, columns)
    return Sheet(title="While it generated", head=head, rows=rows, n_text=1, notes=tuple(_notes(run, seen)))


def _request_sheet(requests: Sequence[tuple[str, RequestSpeeds]]) -> Sheet:
    def column(name: str, number: str) -> Callable[[RequestSpeeds], str]:
        return lambda speeds: _number(getattr(speeds, name), number, 1)

    head, rows = _table(
        requests,
        [
            ("latency, median, s", column("latency_s", "p50")),
            ("95th percentile, s", column("latency_s", "p95")),
            ("99th percentile, s", column("latency_s", "p99")),
            ("prefill, median, tokens/s", column("prefill_tokens_per_s", "p50")),
            ("prefill, mean, tokens/s", column("prefill_tokens_per_s", "mean")),
            ("decode, median, tokens/s", column("decode_tokens_per_s", "p50")),
            ("decode, mean, tokens/s", column("decode_tokens_per_s", "mean")),
            ("answers ended by", _finish_reasons),
        ],
    )
    return Sheet(
        title="Requests",
        head=head,
        rows=rows if len(head) > 1 else (),
        n_text=1,
        notes=(
            "Prefill and decode are rates of single requests, as the engine measured them; several are under way "
            "at once. Percentiles interpolate linearly.",
        )
        if any("tokens/s" in name for name in head)
        else (),
    )


def _table(
    labelled: Sequence[tuple[str, T]], columns: Sequence[tuple[str, Callable[[T], str]]]
) -> tuple[Row, tuple[Row, ...]]:
    texts = [(head, [text(value) for _, value in labelled]) for head, text in columns]
    kept = [(head, column) for head, column in texts if any(column)]
    rows = tuple((label, *(column[i] for _, column in kept)) for i, (label, _) in enumerate(labelled))
    return ("trial", *(head for head, _ in kept)), rows


def _number(summary: SignalSummary | None, number: str, unit: float) -> str:
    return "" if summary is None else w.significant(getattr(summary, number) / unit)


def _throttled(machine: Machine) -> str:
    shares = {r: s for r, s in (machine.throttle or {}).items() if r not in _NO_FAULT}
    if machine.throttle is None:
        return ""
    return ", ".join(f"{r.replace('_', ' ')} {w.percent(s)}" for r, s in shares.items()) or "0"


def _finish_reasons(speeds: RequestSpeeds) -> str:
    return ", ".join(f"{reason} {w.count(n)}" for reason, n in speeds.finish_reasons.items())


def _notes(run: RunReport, seen: Sequence[tuple[str, Machine]]) -> list[str]:
    notes = []
    if any(len(machine.devices) > 1 for _, machine in seen):
        notes.append(
            "Over several devices memory and power are sums, utilisation and clocks means, the temperature is that "
            "of the hottest; manifest.json has each by itself."
        )
    if run.machine is None:
        return notes
    notes += [
        f"Telemetry of {model} is not complete: {why}" for model, why in run.machine.ended_because.items()
    ]
    if run.machine.missing:
        missing = "; ".join(f"{what}: {why}" for what, why in run.machine.missing.items())
        notes.append(f"Not read: {missing}.")
    cost = run.machine.cost
    if cost.mean_ms is not None:
        share = f", {w.percent(cost.cpu_share, 2)} % of one core" if cost.cpu_share is not None else ""
        notes.append(f"A sample took {w.significant(cost.mean_ms)} ms on average{share}.")
    return notes
