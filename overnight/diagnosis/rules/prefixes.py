"""Prompts that begin alike, and whether the engine read their beginning again."""

from overnight.diagnosis.evidence import Draws, RunEvidence, TrialEvidence
from overnight.diagnosis.finding import Fact, Finding, Look, Remedy, Severity
from overnight.diagnosis.rules.common import FEWEST_SENT, blind, look, percent, with_draws
from overnight.spec.model import EngineKind

SHARING_SHARE = 0.20  # ours: less than this is not worth a word
HIT_SHARE = 0.50  # ours: half of what could be found; the first prompt of every slot finds nothing


def prefix_cache(run: RunEvidence) -> Look:
    """Say where prompts begin alike and the engine evaluated the beginning all the same."""
    seen = [
        (trial, draws)
        for trial, draws in with_draws(run)
        if draws.n_sent >= FEWEST_SENT
        and draws.prompt_tokens
        and draws.cached_tokens is not None
        and trial.prompt_bytes
    ]
    if not seen:
        return blind(
            "prefix cache",
            f"no engine said of {FEWEST_SENT} requests how many prompt tokens it had already, or none are kept",
        )
    hit = sum(d.cached_tokens or 0 for _, d in seen) / sum(d.prompt_tokens or 0 for _, d in seen)
    could = sum(t.shared_prompt_bytes or 0 for t, _ in seen) / sum(t.prompt_bytes or 0 for t, _ in seen)
    saw = (
        f"{percent(hit)} of the prompt tokens were there already, {percent(could)} stand in the prompt before"
    )
    return look("prefix cache", saw, [_missed(run, trial, draws) for trial, draws in seen])


def _missed(run: RunEvidence, trial: TrialEvidence, draws: Draws) -> Finding | None:
    could = (trial.shared_prompt_bytes or 0) / (trial.prompt_bytes or 1)
    hit = (draws.cached_tokens or 0) / (draws.prompt_tokens or 1)
    if could < SHARING_SHARE or hit >= HIT_SHARE * could:
        return None
    at_once = run.setting("max_concurrent_requests") or trial.slots
    remedies = []
    if (
        at_once and at_once > 1 and trial.engine == EngineKind.LLAMA_CPP
    ):  # the others have no slots of their own
        why = "prompts that begin alike then follow each other in the same slot more often"
        remedies.append(Remedy(why, "execution.max_concurrent_requests", at_once, at_once // 2))
    remedies += _of_engine(run, trial)
    return Finding(
        name="prefix cache",
        severity=Severity.WARNING,
        score=could - hit,
        what=f"prompts begin alike ({percent(could)} of their bytes), the engine read them anew "
        f"({percent(hit)} of their tokens were there)",
        where=(trial.slug,),
        evidence=(
            Fact("prompt bytes that stand in the prompt before", round(100 * could, 1), "%"),
            Fact("prompt tokens found in the prefix cache", round(100 * hit, 1), "%"),
        ),
        remedies=tuple(remedies),
    )


def _of_engine(run: RunEvidence, trial: TrialEvidence) -> list[Remedy]:
    """Return what makes the engine of a trial keep beginnings."""
    if trial.engine == EngineKind.TRANSFORMERS:
        if run.setting("engine", "batch_invariant"):
            why = (
                "rows are computed one at a time, and share nothing; answers may then differ in the last bits"
            )
            return [Remedy(why, "execution.engine.batch_invariant", True, False)]
        return [Remedy("rows of a batch share what all of them begin with: order the items by their passage")]
    if trial.engine == EngineKind.LLAMA_CPP:
        limit = run.setting("engine", "memory_limit_gib")
        if limit is not None:
            why = "under a limit on memory no prefixes of earlier prompts are kept"
            return [Remedy(why, "execution.engine.memory_limit_gib", limit, None)]
        return [Remedy("order the items by their passage: each slot keeps the prompt that it read last")]
    return [Remedy("check that its server keeps prefixes, and for how many requests at once")]
