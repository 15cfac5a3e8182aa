"""What several rules need."""

from collections.abc import Callable, Iterable

from overnight.diagnosis.evidence import Draws, RunEvidence, Signal, TrialEvidence
from overnight.diagnosis.finding import Finding, Look, merged

ROUND_CONTEXT_TO = 256  # as the plan does
GIB = 2**30
FEWEST_SENT = 20  # ours: fewer requests say more about the first ones than about the machine
NO_DRAWS = "no trial has a journal yet"


def with_draws(run: RunEvidence) -> list[tuple[TrialEvidence, Draws]]:
    """Return the trials whose journals were read, with what these say."""
    return [(trial, trial.draws) for trial in run.trials if trial.draws is not None]


def with_signal(run: RunEvidence, name: str) -> list[tuple[TrialEvidence, Signal]]:
    """Return the trials that a sensor saw."""
    return [(trial, trial.signals[name]) for trial in run.trials if name in trial.signals]


def look(name: str, saw: str, findings: Iterable[Finding | None]) -> Look:
    """Return what came of a rule that could look; findings with the same remedy become one."""
    return Look(name=name, saw=saw, findings=merged([finding for finding in findings if finding is not None]))


def blind(name: str, because: str) -> Look:
    """Return what came of a rule that could not look."""
    return Look(name=name, not_looked_because=because)


def sensed(
    run: RunEvidence,
    name: str,
    signal: str,
    judge: Callable[[TrialEvidence, Signal], Finding | None],
    unit: str,
) -> Look:
    """Return what came of a rule over one sensor."""
    seen = with_signal(run, signal)
    if not seen:
        return blind(name, run.no_signal(signal))
    low, high = min(s.low for _, s in seen), max(s.high for _, s in seen)
    mean = sum(s.mean for _, s in seen) / len(seen)
    saw = f"{signal} {amount(low, unit)} to {amount(high, unit)}, {amount(mean, unit)} on average"
    return look(name, saw, [judge(trial, s) for trial, s in seen])


def rounded_up(number: float, step: int) -> int:
    """Return the next multiple of a step."""
    return int(-(-number // step) * step)


def amount(value: float, unit: str) -> str:
    """Return a value with its unit, as people read it."""
    if unit == "bytes":
        return f"{value / GIB:.1f} GiB"
    return f"{value:,.1f} {unit}".replace(".0 ", " ")


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f} %"
