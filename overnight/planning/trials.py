"""The grid of any experiment: its trials, model by model, and what makes two runs the same."""

from collections.abc import Iterable, Iterator
from typing import Any

from overnight.errors import UsageError
from overnight.ids import digest
from overnight.planning.best_of_k_trials import best_of_k_identity, best_of_k_trials
from overnight.planning.identity import FINGERPRINT_VERSION
from overnight.planning.prompt_trials import prompt_sweep_identity, prompt_trials
from overnight.planning.trait_trials import trait_capture_identity, trait_trials
from overnight.planning.trial import Trial
from overnight.planning.uncertainty_trials import uncertainty_sweep_identity, uncertainty_trials
from overnight.spec.base import APART, are_apart
from overnight.spec.best_of_k import BestOfKSpec
from overnight.spec.model import ModelSpec
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.sweep import SweepSpec
from overnight.spec.trait_capture import TraitCaptureSpec


def expand_trials(spec: SweepSpec) -> tuple[Trial, ...]:
    """Return the trials of a resolved sweep, model by model, in the order of the config.

    Raises:
        UsageError: an axis has no value, two trials are the same, two models have one name, or several processes are
            to do what one of them does.
    """
    if spec.execution.num_processes > 1 and not isinstance(spec, BestOfKSpec):
        raise UsageError(
            f"execution.num_processes: found {spec.execution.num_processes}, wanted 1: several share the vectors of a "
            f"best-of-K trial, and this is a {spec.kind}; take it out"
        )
    trials: dict[str, Trial] = {}
    for trial in _trials(spec):
        if trial.slug in trials:
            raise UsageError(f"experiment: trial {trial.slug} stands twice; take one out")
        trials[trial.slug] = trial
    _require_one_model_per_name(trials.values())
    by_model: dict[str, list[Trial]] = {}
    for trial in trials.values():
        by_model.setdefault(trial.model.name, []).append(trial)
    return tuple(trial for block in by_model.values() for trial in block)


def experiment_fingerprint(spec: SweepSpec) -> str:
    """Return the identity of a run: its trials, and how their answers are scored and compared."""
    return digest(
        {
            "kind": spec.kind,
            "version": FINGERPRINT_VERSION,
            "trials": {trial.slug: trial.fingerprint for trial in expand_trials(spec)},
            **_identity(spec),
        }
    )


def _trials(spec: SweepSpec) -> Iterator[Trial]:
    if isinstance(spec, PromptSweepSpec):
        return prompt_trials(spec)
    if isinstance(spec, TraitCaptureSpec):
        return trait_trials(spec)
    if isinstance(spec, BestOfKSpec):
        return best_of_k_trials(spec)
    return uncertainty_trials(spec)


def _identity(spec: SweepSpec) -> dict[str, Any]:
    if isinstance(spec, PromptSweepSpec):
        return prompt_sweep_identity(spec.experiment)
    if isinstance(spec, TraitCaptureSpec):
        return trait_capture_identity(spec.experiment)
    if isinstance(spec, BestOfKSpec):
        return best_of_k_identity(spec.experiment)
    return uncertainty_sweep_identity(spec.experiment)


def _require_one_model_per_name(trials: Iterable[Trial]) -> None:
    """Refuse two models of one name: they would be one block, and one of them would answer for both."""
    models: dict[str, ModelSpec] = {}
    for trial in trials:
        if models.setdefault(trial.model.name, trial.model) != trial.model:
            raise UsageError(
                f"experiment: two different models are named {trial.model.name!r}; give each a name of its own"
            )
    if not are_apart(models):
        raise UsageError(f"experiment: names a model twice: {sorted(models)!r}; {APART}")
