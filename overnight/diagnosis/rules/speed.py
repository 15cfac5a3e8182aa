"""Slow: against what this machine did before, or so slow that nobody would wait for it."""

from overnight.diagnosis.evidence import Draws, RunEvidence, TrialEvidence
from overnight.diagnosis.finding import Fact, Finding, Ineffective, Look, Remedy, Severity
from overnight.diagnosis.rules.common import FEWEST_SENT, blind, look, percent, with_draws

SLOW_TOKENS_PER_S = 5.0  # spec B4.1 and B4.2
BOUND_SHARE = 0.5  # of the engine's time: where more than half of it goes
_MOST_AT_ONCE = 256  # the largest `execution.max_concurrent_requests`

# Spec B4.1 lists these against slow tokens; choosing a token from its probabilities is < 1 % of computing them.
INEFFECTIVE = (
    Ineffective("a lower top_k", "choosing the token takes less than 1 % of a step, whatever top_k is"),
    Ineffective(
        "a temperature above 0",
        "as fast as 0; it makes every answer a draw at random, so that repeats differ and more draws are needed",
    ),
    Ineffective("a lower top_p", "choosing the token takes less than 1 % of a step, whatever top_p is"),
)


def slow(run: RunEvidence) -> Look:
    """Say which trials were slow, and whether reading prompts or writing answers took the time."""
    timed = [
        (t, d)
        for t, d in with_draws(run)
        if t.inference_s and d.n_sent >= FEWEST_SENT and d.completion_tokens
    ]
    if not timed:
        return blind(
            "slow", f"no trial has the seconds and the tokens of {FEWEST_SENT} requests that were sent"
        )
    rates = [_tokens_per_s(trial, draws) for trial, draws in timed]
    n_known = sum(trial.predicted_high_s is not None for trial, _ in timed)
    earlier = (
        "compared with what this machine did before"
        if n_known
        else "this machine had not measured the model before"
    )
    saw = (
        f"{min(rates):.1f} tokens/s written in the slowest trial, {max(rates):.1f} in the fastest; {earlier}"
    )
    return look("slow", saw, [_slow(run, trial, draws) for trial, draws in timed])


def prefill_share(draws: Draws) -> float | None:
    """Return the share of the engine's time that went to reading prompts; None where it did not say."""
    if draws.prefill_s is None or draws.decode_s is None or draws.prefill_s + draws.decode_s <= 0:
        return None
    return draws.prefill_s / (draws.prefill_s + draws.decode_s)


def _tokens_per_s(trial: TrialEvidence, draws: Draws) -> float:
    """Return tokens written a second of the time that went to writing, over all requests that ran side by side.

    Where the engine does not say what went to reading, all of the time counts, and this is a lower bound.
    """
    writing = 1 - (prefill_share(draws) or 0.0)
    return (draws.completion_tokens or 0) / ((trial.inference_s or 0.0) * max(writing, 1e-9))


def _slow(run: RunEvidence, trial: TrialEvidence, draws: Draws) -> Finding | None:
    rate, share = _tokens_per_s(trial, draws), prefill_share(draws)
    took, high = trial.inference_s or 0.0, trial.predicted_high_s
    is_slower_than_before = high is not None and took > high
    # Of an engine that does not say what went to reading, few tokens a second may be long prompts.
    is_below = rate < SLOW_TOKENS_PER_S
    if not is_slower_than_before and not is_below:
        return None
    lost = max(0.0, 1 - (trial.predicted_s or took) / took)
    what = (
        f"it took {took:.0f} s; by what this machine measured before, at most {high:.0f} s"
        if is_slower_than_before
        else f"{rate:.1f} tokens a second are written, fewer than {SLOW_TOKENS_PER_S:g}"
    )
    return Finding(
        name="slow",
        severity=Severity.WARNING,
        score=max(lost, 1 - rate / SLOW_TOKENS_PER_S if is_below else 0.0),
        what=f"{what}; {_bound(share)}",
        where=(trial.slug,),
        evidence=(
            Fact("generating", round(took, 1), "s"),
            Fact("written", round(rate, 2), "tokens/s"),
            *([Fact("predicted", trial.predicted_s, "s")] if trial.predicted_s is not None else []),
            *(
                [Fact("reading prompts", round(100 * share, 1), "% of the engine's time")]
                if share is not None
                else []
            ),
        ),
        remedies=_faster(run, trial, share),
        ineffective=INEFFECTIVE,
    )


def _bound(share: float | None) -> str:
    if share is None:
        return "the engine does not say whether reading prompts or writing answers takes the time"
    if share > BOUND_SHARE:
        return f"reading prompts takes {percent(share)} of the engine's time"
    return f"writing answers takes {percent(1 - share)} of the engine's time"


def _faster(run: RunEvidence, trial: TrialEvidence, share: float | None) -> tuple[Remedy, ...]:
    remedies = []
    threads = run.setting("engine", "threads")
    if threads and run.cores and threads != run.cores:
        remedies.append(Remedy("one thread a core", "execution.engine.threads", threads, run.cores))
    layers = run.setting("engine", "gpu_layers")
    if run.gpus and layers not in (None, -1):
        remedies.append(Remedy("all layers on the GPU", "execution.engine.gpu_layers", layers, -1))
    if run.gpus and run.setting("engine", "cpu_offload") == "allow":
        why = "no layer on the processor: a smaller model of the ladder stands in"
        remedies.append(Remedy(why, "execution.engine.cpu_offload", "allow", "refuse"))
    if share is not None and share > BOUND_SHARE:
        remedies.append(Remedy("shorter passages or system prompts: the time is that of reading them"))
    else:
        at_once = run.setting("max_concurrent_requests") or trial.slots
        if at_once and at_once < _MOST_AT_ONCE:
            why = "weights are read once for all requests of a step; needs memory for their contexts"
            more = min(2 * at_once, _MOST_AT_ONCE)
            remedies.append(Remedy(why, "execution.max_concurrent_requests", at_once, more))
        remedies.append(Remedy("a smaller quantization reads fewer bytes a token; another experiment"))
    return (
        *remedies,
        Remedy("what else ran meanwhile? `overnight doctor` names what uses the GPU and the memory"),
    )
