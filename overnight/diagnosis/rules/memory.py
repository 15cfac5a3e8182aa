"""Memory that ran out, and memory that is about to."""

from collections.abc import Mapping
from typing import Any

from overnight.diagnosis.evidence import RunEvidence, Signal, TrialEvidence
from overnight.diagnosis.finding import Fact, Finding, Ineffective, Look, Remedy, Severity
from overnight.diagnosis.rules.common import ROUND_CONTEXT_TO, amount, blind, look, rounded_up, with_signal

FULL_SHARE = 0.95  # spec B4.2: a 16 GB card that spikes to 16 GB; healthy is up to 15
# Spec B4.1: the order in which weights become smaller.
QUANTIZATIONS = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "Q3_K_M")
_SIGNS_SHOWN = 3
_OTHERS_BYTES = 2**28  # a quarter of a GiB: a desktop has that much
_KIND = "OutOfMemory"


def out_of_memory(run: RunEvidence) -> Look:
    """Say where memory ran out, by typed errors, by logs, by restarts after a kill; spec B4.1, first row."""
    if not (run.trials or run.models):
        return blind("out of memory", "nothing was loaded yet")
    typed = [trial for trial in run.trials if trial.draws and trial.draws.failed.get(_KIND)]
    steps = [trial for trial in run.trials if trial.n_steps_down]
    signs = run.out_of_memory_lines + run.killed_lines
    saw = (
        f"{sum(t.draws.failed[_KIND] for t in typed if t.draws)} draws and {len(run.out_of_memory_lines)} lines "
        f"of logs say so, {len(run.killed_lines)} say that a process was killed, {len(steps)} trials stepped down"
    )
    if not (typed or signs or steps):
        return look("out of memory", saw, [])
    hit = typed or steps or [t for t in run.trials if t.state == "failed"] or list(run.trials)
    ended_well = all(trial.state == "done" for trial in run.trials)
    n_expected = sum(trial.n_expected or 0 for trial in run.trials)
    n_missing = n_expected - sum(trial.draws.n_done for trial in run.trials if trial.draws)
    return look(
        "out of memory",
        saw,
        [
            Finding(
                name="out of memory",
                severity=Severity.WARNING if ended_well else Severity.PROBLEM,
                score=max(0.0, n_missing / n_expected) if n_expected else 1.0,
                what="memory ran out"
                if typed or run.out_of_memory_lines
                else "a process was killed from outside, which is what a system that is short of memory does"
                if run.killed_lines
                else "trials went on with smaller settings than asked for",
                where=tuple(trial.slug for trial in hit),
                evidence=(
                    *(Fact("said", line) for line in signs[:_SIGNS_SHOWN]),
                    *(Fact("steps down", t.n_steps_down, t.slug) for t in steps),
                    *_largest_holder(run),
                ),
                remedies=_smaller(run, hit[0]) if hit else (),
                ineffective=_no_use(run),
            )
        ],
    )


def _smaller(run: RunEvidence, trial: TrialEvidence) -> tuple[Remedy, ...]:
    """Return what needs less memory, what changes no answer first."""
    remedies = []
    if beside := next((model.beside for model in run.models if model.model == trial.model), ()):
        why = f"{', '.join(beside)} took memory at the same time; changes no answer"
        remedies.append(Remedy(why, "execution.parallel_models", run.setting("parallel_models"), 1))
    at_once = run.setting("max_concurrent_requests") or trial.slots
    if at_once and at_once > 1:
        why = "each request that is under way holds a context of its own; changes no answer"
        remedies.append(Remedy(why, "execution.max_concurrent_requests", at_once, at_once // 2))
    longest = trial.draws.longest_prompt if trial.draws else None
    limit = max(trial.token_limits.values(), default=None)
    if longest is not None and limit is not None and trial.context_tokens:
        wanted = rounded_up(longest + limit, ROUND_CONTEXT_TO)
        if wanted < trial.context_tokens:
            why = f"the longest prompt so far and its answer need {longest + limit} of {trial.context_tokens} tokens"
            old = run.setting("engine", "context_tokens")
            remedies.append(Remedy(why, "execution.engine.context_tokens", old, wanted))
    if smaller := _next_quantization(trial.quantization):
        why = "smaller weights, in a model file of its own; another experiment, since answers change"
        remedies.append(Remedy(why, f"quantization of {trial.model}", trial.quantization, smaller))
    return (*remedies, Remedy("close what else uses the GPU or the memory: `overnight doctor` names it"))


def _next_quantization(name: str | None) -> str | None:
    if name not in QUANTIZATIONS[:-1]:
        return None
    below = QUANTIZATIONS[QUANTIZATIONS.index(name) + 1 :]
    return next(each for each in below if each not in ("F16", "BF16"))


def _no_use(run: RunEvidence) -> tuple[Ineffective, ...]:
    sampling = Ineffective(
        "lower top_k or top_p", "sampling needs one number a word of the vocabulary, some 100 kB"
    )
    if run.setting("engine", "context_tokens") is None:
        return (sampling,)
    return (
        sampling,
        Ineffective(
            "a lower max_new_tokens",
            "execution.engine.context_tokens is set: its memory is taken when the model is loaded, however long "
            "the answers are",
        ),
    )


def _largest_holder(run: RunEvidence) -> tuple[Fact, ...]:
    """Return what other processes held of the GPU, where that was seen."""
    used = {t.slug: s for t, s in with_signal(run, "gpu_memory_used_bytes")}
    own = {t.slug: s for t, s in with_signal(run, "gpu_process_memory_bytes")}
    others = [used[slug].high - own[slug].high for slug in used.keys() & own.keys()]
    held = max(others, default=0.0)
    return (Fact("GPU memory of other processes", amount(held, "bytes")),) if held > _OTHERS_BYTES else ()


def gpu_memory_full(run: RunEvidence) -> Look:
    """Say where the memory of the GPU was nearly used up; spec B4.2."""
    seen = with_signal(run, "gpu_memory_used_bytes")
    total = _gpu_bytes(run.gpus)
    if not seen:
        return blind("GPU memory full", run.no_signal("gpu_memory_used_bytes"))
    if total is None:
        return blind("GPU memory full", "the manifest names no GPU with its memory")
    high = max(signal.high for _, signal in seen)
    saw = f"at most {amount(high, 'bytes')} of {amount(total, 'bytes')} used"
    return look("GPU memory full", saw, [_full(run, trial, signal, total) for trial, signal in seen])


def _full(run: RunEvidence, trial: TrialEvidence, signal: Signal, total: float) -> Finding | None:
    if signal.high <= FULL_SHARE * total:
        return None
    return Finding(
        name="GPU memory full",
        severity=Severity.NOTE,
        score=min(1.0, signal.high / total),
        what="the GPU's memory was nearly used up; a longer prompt, or another program, and it runs out",
        where=(trial.slug,),
        evidence=(
            Fact("most used", amount(signal.high, "bytes")),
            Fact("memory of the GPU", amount(total, "bytes")),
        ),
        remedies=_smaller(run, trial),
    )


def _gpu_bytes(gpus: tuple[Mapping[str, Any], ...]) -> float | None:
    known = [float(gpu["memory_bytes"]) for gpu in gpus if gpu.get("memory_bytes")]
    return sum(known) if known else None
