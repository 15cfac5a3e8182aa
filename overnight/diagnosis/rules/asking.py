"""Requests without an answer: nobody there, too long, or an answer that is none."""

from overnight.diagnosis.evidence import Draws, RunEvidence, TrialEvidence
from overnight.diagnosis.finding import Fact, Finding, Ineffective, Look, Remedy, Severity
from overnight.diagnosis.rules.common import NO_DRAWS, ROUND_CONTEXT_TO, blind, look, rounded_up, with_draws

_UNAVAILABLE, _RATE_LIMITED, _OVERFLOW, _BAD = (
    "EngineUnavailable",
    "RateLimited",
    "ContextOverflow",
    "BadResponse",
)
_CONNECTION = (_UNAVAILABLE, _RATE_LIMITED, "EngineCrashed")
_ELSEWHERE = (*_CONNECTION, _OVERFLOW, "OutOfMemory")  # kinds that have a rule of their own
_OWN_PROCESS = ("llama_cpp", "transformers")
_GO_ON = Remedy("then `overnight resume RUN`: what failed is asked again, what was answered is kept")


def connection(run: RunEvidence) -> Look:
    """Say which requests found nobody, were turned away, or waited in vain; spec B4.1, connection errors."""
    trials = with_draws(run)
    if not trials:
        return blind("connection", NO_DRAWS)
    lost = sum(_lost(draws) for _, draws in trials)
    retried = sum(draws.n_retried for _, draws in trials)
    saw = f"{lost:,} draws lost to the connection or to time-outs, {retried:,} took more than one attempt"
    return look("connection", saw, [_connection(run, trial, draws) for trial, draws in trials])


def _lost(draws: Draws) -> int:
    return sum(draws.failed.get(kind, 0) for kind in _CONNECTION) + draws.n_timeouts


def _connection(run: RunEvidence, trial: TrialEvidence, draws: Draws) -> Finding | None:
    if not _lost(draws):
        return None
    remedies: list[Remedy] = []
    if limited := draws.failed.get(_RATE_LIMITED, 0):
        at_once = run.setting("max_concurrent_requests") or trial.slots
        if at_once and at_once > 1:
            remedies.append(_fewer("the service asks to be called less often", at_once))
    if draws.n_timeouts:
        seconds = run.setting("request_timeout_s") or 600
        remedies.append(Remedy("answers took longer", "execution.request_timeout_s", seconds, 2 * seconds))
    if gone := sum(draws.failed.get(kind, 0) for kind in (_UNAVAILABLE, "EngineCrashed")):
        own = trial.engine in _OWN_PROCESS
        remedies.append(
            Remedy(f"read engines/{trial.model}.log: the engine's process ended")
            if own
            else Remedy("`overnight doctor` says whether the server answers and has the model")
        )
    n = draws.n_done + draws.n_failed
    return Finding(
        name="connection",
        severity=Severity.PROBLEM,
        score=_lost(draws) / n,
        what=f"{_lost(draws)} of {n} draws have no answer because the engine was not there or not in time",
        where=(trial.slug,),
        evidence=(
            Fact("engine unavailable", gone, "draws"),
            Fact("rate limited", limited, "draws"),
            Fact("timed out", draws.n_timeouts, "draws"),
            Fact("retried", draws.n_retried, "rows"),
            *(Fact(kind, text) for kind, text in draws.messages.items() if kind in (*_CONNECTION, _BAD)),
        ),
        remedies=(*remedies, _GO_ON),
    )


def _fewer(why: str, at_once: int) -> Remedy:
    return Remedy(why, "execution.max_concurrent_requests", at_once, at_once // 2)


def context_overflow(run: RunEvidence) -> Look:
    """Say which prompts did not fit, and what context would hold them; spec B8, B-9."""
    trials = with_draws(run)
    if not trials:
        return blind("context overflow", NO_DRAWS)
    n = sum(draws.failed.get(_OVERFLOW, 0) for _, draws in trials)
    saw = f"{n:,} draws did not fit into the context"
    return look("context overflow", saw, [_overflow(run, trial, draws) for trial, draws in trials])


def _overflow(run: RunEvidence, trial: TrialEvidence, draws: Draws) -> Finding | None:
    n_lost = draws.failed.get(_OVERFLOW, 0)
    if not n_lost:
        return None
    needed, trained = draws.n_overflow_tokens, trial.trained_context_tokens
    wanted = None if needed is None else rounded_up(needed, ROUND_CONTEXT_TO)
    if needed is not None and trained is not None:
        wanted = min(rounded_up(needed, ROUND_CONTEXT_TO), trained)
    old = run.setting("engine", "context_tokens")
    n = draws.n_done + draws.n_failed
    too_long = needed is not None and trained is not None and needed > trained
    remedies = []
    if wanted is not None and wanted > (trial.context_tokens or 0):
        holds = f"holds {'most' if too_long else 'all'} of them; costs memory"
        remedies.append(Remedy(holds, "execution.engine.context_tokens", old, wanted))
    if too_long:
        remedies.append(
            Remedy(
                f"the longest needs {needed} tokens, {trial.model} was made for {trained}: shorten the passages, "
                "or take a model with a longer context"
            )
        )
    if needed is None:
        remedies.append(
            Remedy("raise execution.engine.context_tokens to what the messages in the journal ask for")
        )
    return Finding(
        name="context overflow",
        severity=Severity.PROBLEM,
        score=n_lost / n,
        what=f"{n_lost} of {n} draws were not asked: prompt and answer do not fit into the context",
        where=(trial.slug,),
        evidence=(
            Fact("draws that do not fit", n_lost, f"of {n}"),
            *([Fact("longest prompt with its answer", needed, "tokens")] if needed is not None else []),
            *([Fact("context", trial.context_tokens, "tokens")] if trial.context_tokens else []),
            *([Fact("the model was made for", trained, "tokens")] if trained else []),
        ),
        remedies=(*remedies, _GO_ON),
        ineffective=(
            Ineffective("asking again", "the same prompt is as long as before; it is not even sent"),
        ),
    )


def errors(run: RunEvidence) -> Look:
    """Say which other errors left draws without an answer, by kind."""
    trials = with_draws(run)
    if not trials:
        return blind("errors", NO_DRAWS)
    n_failed = sum(draws.n_failed for _, draws in trials)
    n = n_failed + sum(draws.n_done for _, draws in trials)
    return look("errors", f"{n_failed:,} of {n:,} draws have an error and no answer", map(_errors, trials))


def _errors(pair: tuple[TrialEvidence, Draws]) -> Finding | None:
    trial, draws = pair
    failed = dict(draws.failed)
    if draws.n_timeouts:  # the connection's
        failed[_BAD] = failed.get(_BAD, 0) - draws.n_timeouts
    other = {kind: n for kind, n in failed.items() if n > 0 and kind not in _ELSEWHERE}
    if not other:
        return None
    n = draws.n_done + draws.n_failed
    return Finding(
        name="errors",
        severity=Severity.PROBLEM,
        score=sum(other.values()) / n,
        what=f"{sum(other.values())} of {n} draws have no answer",
        where=(trial.slug,),
        evidence=tuple(
            fact
            for kind, count in sorted(other.items())
            for fact in (Fact(kind, count, "draws"), Fact(f"{kind} says", draws.messages.get(kind, "")))
        ),
        remedies=(_GO_ON,),
    )
