"""What the sensors saw: heat, an idle GPU, a crowded processor, little memory."""

from overnight.diagnosis.evidence import RunEvidence, Signal, TrialEvidence
from overnight.diagnosis.finding import Fact, Finding, Ineffective, Look, Remedy, Severity
from overnight.diagnosis.rules.common import GIB, amount, blind, look, percent, sensed, with_signal

HOT_C = 85.0  # spec B4.2: throttling; healthy is below 80
THROTTLED_SHARE = 0.05  # ours: of the samples; the driver holds clocks down for moments on every card
LOW_UTILISATION_PERCENT = 50.0  # spec B4.2: CPU-bound, or poor batching; healthy is 80 to 95
CPU_BUSY_PERCENT = 90.0  # spec B4.2: fewer threads
LOW_RAM_BYTES = 4 * GIB  # spec B4.2
LOW_RAM_SHARE = 0.10  # ours: of the machine's memory, for machines that have little
_MOST_AT_ONCE = 256  # the largest `execution.max_concurrent_requests`


def thermal(run: RunEvidence) -> Look:
    """Say where the GPU was too hot, or held its clocks down because of heat."""
    hot = {trial.slug: signal for trial, signal in with_signal(run, "gpu_temperature_c")}
    throttled = {
        trial.slug: sum(share for reason, share in trial.throttle.items() if _is_heat(reason))
        for trial in run.trials
        if trial.throttle is not None
    }
    if not hot and not throttled:
        return blind("thermal", run.no_signal("gpu_temperature_c or reasons for lower clocks"))
    temperature = f"at most {max(s.high for s in hot.values()):.0f} C" if hot else "temperature unknown"
    share = f"clocks held down by heat in {percent(max(throttled.values(), default=0.0))} of the samples"
    findings = [
        _hot(slug, hot.get(slug), throttled.get(slug, 0.0)) for slug in dict.fromkeys([*hot, *throttled])
    ]
    return look("thermal", f"{temperature}, {share}", findings)


def _is_heat(reason: str) -> bool:
    return "thermal" in reason.lower() or reason.lower().endswith("hw_slowdown")


def _hot(slug: str, signal: Signal | None, throttled: float) -> Finding | None:
    is_hot = signal is not None and signal.high > HOT_C
    if not is_hot and throttled <= THROTTLED_SHARE:
        return None
    return Finding(
        name="thermal",
        severity=Severity.WARNING if throttled > THROTTLED_SHARE else Severity.NOTE,
        score=min(1.0, throttled),
        what="the GPU was so hot that it held its clocks down"
        if throttled > THROTTLED_SHARE
        else f"the GPU was hotter than {HOT_C:.0f} C; it did not slow down for it yet",
        where=(slug,),
        evidence=(
            *([Fact("highest temperature", signal.high, "C")] if signal else []),
            Fact("samples with clocks held down by heat", round(100 * throttled, 1), "%"),
        ),
        remedies=(
            Remedy("clean or uncover its fans, let air in, lower the room's temperature"),
            Remedy(
                "or a lower power limit (`nvidia-smi -pl WATTS`): cooler, and slower by less than heat makes it"
            ),
        ),
        ineffective=(
            Ineffective(
                "fewer tokens an answer", "the GPU is as hot while it writes short answers; only pauses cool"
            ),
        ),
    )


def low_utilisation(run: RunEvidence) -> Look:
    """Say where the GPU waited for something while a trial generated."""

    def judge(trial: TrialEvidence, signal: Signal) -> Finding | None:
        return _idle(run, trial, signal)

    return sensed(run, "low utilisation", "gpu_utilization_percent", judge, "%")


def _idle(run: RunEvidence, trial: TrialEvidence, signal: Signal) -> Finding | None:
    if signal.mean >= LOW_UTILISATION_PERCENT:
        return None
    cpu = trial.signals.get("cpu_percent")
    own = trial.signals.get("gpu_process_memory_bytes")
    remedies = []
    if own is not None and own.high == 0:
        layers = run.setting("engine", "gpu_layers")
        if layers not in (None, -1):
            remedies.append(Remedy("the model is not on the GPU", "execution.engine.gpu_layers", layers, -1))
        else:
            remedies.append(
                Remedy("the model is not on the GPU: `overnight doctor` says what the engines see of it")
            )
    is_cpu_bound = cpu is not None and cpu.mean > CPU_BUSY_PERCENT
    if is_cpu_bound:
        remedies.append(
            Remedy("the processor is the bottleneck: end what else uses it while a model generates")
        )
    at_once = run.setting("max_concurrent_requests") or trial.slots
    if at_once and not is_cpu_bound and at_once < _MOST_AT_ONCE:
        why = "more requests share each pass over the weights, as far as memory allows"
        more = min(2 * at_once, _MOST_AT_ONCE)
        remedies.append(Remedy(why, "execution.max_concurrent_requests", at_once, more))
    return Finding(
        name="low utilisation",
        severity=Severity.WARNING,
        score=1 - signal.mean / 100,
        what=f"the GPU was busy {signal.mean:.0f} % of the time while the trial generated",
        where=(trial.slug,),
        evidence=(
            Fact("mean utilisation of the GPU", round(signal.mean, 1), "%"),
            *([Fact("mean use of the processor", round(cpu.mean, 1), "%")] if cpu else []),
            *([Fact("requests at once", at_once)] if at_once else []),
        ),
        remedies=tuple(remedies),
    )


def cpu_bound(run: RunEvidence) -> Look:
    """Say where threads stood in each other's way; a model that runs on the processor is to use all of it."""
    if run.cores is None:
        return blind("CPU bound", "the manifest does not say how many cores there are")
    cores = run.cores

    def judge(trial: TrialEvidence, signal: Signal) -> Finding | None:
        return _crowded(run, trial, signal, cores)

    return sensed(run, "CPU bound", "cpu_percent", judge, "%")


def _crowded(run: RunEvidence, trial: TrialEvidence, signal: Signal, cores: int) -> Finding | None:
    threads = run.setting("engine", "threads")
    if signal.mean <= CPU_BUSY_PERCENT or threads is None or threads <= cores:
        return None
    return Finding(
        name="CPU bound",
        severity=Severity.WARNING,
        score=1 - cores / threads,
        what=f"{threads} threads share {cores} cores and wait for one another",
        where=(trial.slug,),
        evidence=(
            Fact("mean use of the processor", round(signal.mean, 1), "%"),
            Fact("threads", threads),
            Fact("physical cores", cores),
        ),
        remedies=(
            Remedy(
                "one thread a core; hyper-threads share the unit that multiplies",
                "execution.engine.threads",
                threads,
                cores,
            ),
        ),
    )


def low_ram(run: RunEvidence) -> Look:
    """Say where little memory was left."""
    total = run.memory_bytes
    bound = max(LOW_RAM_BYTES, LOW_RAM_SHARE * total) if total else LOW_RAM_BYTES

    def judge(trial: TrialEvidence, signal: Signal) -> Finding | None:
        if signal.low >= bound:
            return None
        at_once = run.setting("max_concurrent_requests") or trial.slots
        why = "each request that is under way holds a context of its own"
        fewer = (
            [Remedy(why, "execution.max_concurrent_requests", at_once, at_once // 2)]
            if at_once and at_once > 1
            else []
        )
        return Finding(
            name="low RAM",
            severity=Severity.WARNING,
            score=1 - signal.low / bound,
            what=f"only {amount(signal.low, 'bytes')} of memory were left at one time; a system that swaps is slow, "
            "and one that has no more ends the model",
            where=(trial.slug,),
            evidence=(
                Fact("least memory available", amount(signal.low, "bytes")),
                *([Fact("memory of the machine", amount(total, "bytes"))] if total else []),
            ),
            remedies=(Remedy("end other programs while models generate"), *fewer),
        )

    return sensed(run, "low RAM", "ram_available_bytes", judge, "bytes")
