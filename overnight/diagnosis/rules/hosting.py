"""Engines that died and were started again."""

from overnight.diagnosis.evidence import ModelEvidence, RunEvidence
from overnight.diagnosis.finding import Fact, Finding, Look, Remedy, Severity
from overnight.diagnosis.rules.common import blind, look


def restarts(run: RunEvidence) -> Look:
    """Say which engines died, how often, and what they said last."""
    if not run.models:
        return blind("restarts", "no model was loaded yet")
    n = sum(model.restarts for model in run.models)
    saw = f"weights were read {_times(sum(model.loads for model in run.models))}, {n} of them after an engine died"
    return look("restarts", saw, [_restarted(run, model) for model in run.models if model.restarts])


def _restarted(run: RunEvidence, model: ModelEvidence) -> Finding:
    said = [Fact("last line of its log", model.last_words)] if model.last_words else []
    memory = "; if memory was short, `out of memory` says what to change" if run.out_of_memory_lines else ""
    n_retried = sum(
        trial.draws.n_retried for trial in run.trials if trial.draws and trial.model == model.model
    )
    n_draws = sum(trial.draws.n_done for trial in run.trials if trial.draws and trial.model == model.model)
    return Finding(
        name="restarts",
        severity=Severity.WARNING,
        score=min(1.0, n_retried / n_draws) if n_draws else 1.0,
        what=f"the engine of {model.model} ended {model.restarts} times and was started again",
        where=(model.model,),
        evidence=(Fact("restarts", model.restarts), Fact("draws asked again", n_retried, "rows"), *said),
        remedies=(Remedy(f"read engines/{model.model}.log{memory}"),),
    )


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
