"""The grid: which trials a sweep has, and what makes a trial the same trial."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from overnight.engines.openai.dialects import require_taken
from overnight.errors import UsageError
from overnight.ids import digest, trial_slug
from overnight.prompting.messages import template_digest
from overnight.records import Arm, Condition, ItemType
from overnight.spec.dataset import Columns, DatasetSpec
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.prompt_set import PromptSet
from overnight.spec.prompt_sweep import (
    Defaults,
    ExplicitTrial,
    MaxNewTokens,
    PromptSweepExperiment,
    PromptSweepSpec,
    SamplingSpec,
    Sweep,
)

# Raise it when the meaning of a trial's fields changes; frozen fingerprints in the tests say so.
FINGERPRINT_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One cell of the grid, one folder; its arms are control and treatment at each temperature."""

    model: ModelSpec
    prompt_set: PromptSet
    temps: tuple[float, ...]
    top_p: float
    top_k: int
    max_new_tokens: MaxNewTokens
    sampling: SamplingSpec
    fingerprint: str

    @property
    def slug(self) -> str:
        """The trial's folder."""
        return trial_slug(
            model=self.model.name,
            prompt_set=self.prompt_set.name,
            top_p=self.top_p,
            top_k=self.top_k,
            closed=self.max_new_tokens.closed,
            opened=self.max_new_tokens.open,
            fingerprint=self.fingerprint,
        )

    def arms(self, conditions: Iterable[Condition]) -> tuple[Arm, ...]:
        """Return the arms of some conditions: condition by condition, temperature by temperature."""
        return tuple(Arm(condition=c, temperature=t) for c, t in product(conditions, self.temps))

    def draws(self, temperature: float) -> int:
        """Return how often an item is asked: draws at temperature 0 would all be the same."""
        return self.sampling.samples_per_item if temperature > 0 else 1

    def token_limit(self, item_type: ItemType) -> int:
        """Return the longest completion of an item, in tokens."""
        return self.max_new_tokens.closed if item_type is ItemType.CLOSED else self.max_new_tokens.open

    def requested(self) -> dict[str, Any]:
        """Return what was asked for, for the manifest and the report."""
        return {
            "model": self.model.name,
            "model_digest": self.model.sha256,
            "quantization": self.model.quantization,
            "engine": self.model.engine.value,
            "prompt_set": self.prompt_set.name,
            "prompt_digests": self.prompt_set.identity(),
            "temps": list(self.temps),
            "top_p": self.top_p,
            "top_k": self.top_k,
            "max_new_tokens": self.max_new_tokens.model_dump(),
            "samples_per_item": self.sampling.samples_per_item,
            "seed": self.sampling.seed,
            "stop": list(self.sampling.stop),
        }


def expand_trials(spec: PromptSweepSpec) -> tuple[Trial, ...]:
    """Return the trials of a resolved sweep, model by model, in the order of the config.

    Explicit trials win over the sweep; a list of the sweep wins over the default. The product runs over
    model, prompt set, top_p, top_k, closed and open limits; temperatures stay inside each trial.

    Raises:
        UsageError: an axis has no value, two trials are the same, or two models have one name.
    """
    experiment = spec.experiment
    cells = (
        [_explicit(trial, experiment.defaults) for trial in experiment.trials]
        if experiment.trials
        else _product(experiment.sweep or Sweep(), experiment.defaults)
    )
    trials: dict[str, Trial] = {}
    for cell in cells:
        trial = _trial(cell, experiment)
        if trial.slug in trials:
            raise UsageError(f"experiment: trial {trial.slug} stands twice; take one out")
        trials[trial.slug] = trial
    _require_one_model_per_name(trials.values())
    by_model: dict[str, list[Trial]] = {}
    for trial in trials.values():
        by_model.setdefault(trial.model.name, []).append(trial)
    return tuple(trial for block in by_model.values() for trial in block)


def _require_one_model_per_name(trials: Iterable[Trial]) -> None:
    """Refuse two models of one name: they would be one block, and one of them would answer for both."""
    models: dict[str, ModelSpec] = {}
    for trial in trials:
        if models.setdefault(trial.model.name, trial.model) != trial.model:
            raise UsageError(
                f"experiment: two different models are named {trial.model.name!r}; give each a name of its own"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    model: ModelSpec
    prompt_set: PromptSet
    temps: tuple[float, ...]
    top_p: float
    top_k: int
    max_new_tokens: MaxNewTokens


def _product(sweep: Sweep, defaults: Defaults) -> list[_Cell]:
    limits = sweep.max_new_tokens
    return [
        _Cell(
            model=_resolved(model, ModelSpec, "experiment.sweep.models", "--models"),
            prompt_set=_resolved(prompts, PromptSet, "experiment.sweep.prompt_sets", "--prompt-sets"),
            temps=sweep.temps or defaults.temps,
            top_p=top_p,
            top_k=top_k,
            max_new_tokens=MaxNewTokens(closed=closed, open=opened),
        )
        for model, prompts, top_p, top_k, closed, opened in product(
            sweep.models or (defaults.model,),
            sweep.prompt_sets or (defaults.prompt_set,),
            sweep.top_p or (defaults.top_p,),
            sweep.top_k if sweep.top_k is not None else (defaults.top_k,),
            limits.closed or (defaults.max_new_tokens.closed,),
            limits.open or (defaults.max_new_tokens.open,),
        )
    ]


def _explicit(trial: ExplicitTrial, defaults: Defaults) -> _Cell:
    return _Cell(
        model=_resolved(trial.model or defaults.model, ModelSpec, "experiment.trials[].model", "--models"),
        prompt_set=_resolved(
            trial.prompt_set or defaults.prompt_set,
            PromptSet,
            "experiment.trials[].prompt_set",
            "--prompt-sets",
        ),
        temps=trial.temps or defaults.temps,
        top_p=defaults.top_p if trial.top_p is None else trial.top_p,
        top_k=defaults.top_k if trial.top_k is None else trial.top_k,
        max_new_tokens=trial.max_new_tokens or defaults.max_new_tokens,
    )


def _resolved(value: Any, wanted: type[Any], key: str, option: str) -> Any:
    if value is None:
        raise UsageError(f"{key}: missing, and experiment.defaults has none; name one there or with {option}")
    if not isinstance(value, wanted):
        raise TypeError(f"{key} is still a name ({value!r}); resolve the sweep first")
    return value


def _trial(cell: _Cell, experiment: PromptSweepExperiment) -> Trial:
    fields = {name: getattr(cell, name) for name in _Cell.__slots__}
    if experiment.dry_run:
        fields["model"] = cell.model.model_copy(update={"engine": EngineKind.DRY_RUN})
    _require_taken(cell, experiment)
    return Trial(
        sampling=experiment.sampling, fingerprint=_fingerprint(fields["model"], cell, experiment), **fields
    )


def _require_taken(cell: _Cell, experiment: PromptSweepExperiment) -> None:
    """Refuse sampling settings that the server of a served model would leave out."""
    endpoint = cell.model.endpoint
    if endpoint is None:
        return
    try:
        require_taken(endpoint.dialect, temps=cell.temps, top_k=cell.top_k, stop=experiment.sampling.stop)
    except UsageError as error:
        raise UsageError(f"model {cell.model.name}: {error}") from None


def _fingerprint(model: ModelSpec, cell: _Cell, experiment: PromptSweepExperiment) -> str:
    """Return the identity of a trial: everything that can change an answer, and nothing else.

    Out of it on purpose: names of models and prompt sets, the engine's settings, scoring, statistics and prices.
    A dataset's name is in it, because seeds and samples depend on it. The same trial comes out before the run and
    from its ``effective_config.yaml``. Where transformers loads the weights, how it holds them is not in their file.
    """
    held = {"held": model.held()} if model.engine is EngineKind.TRANSFORMERS else {}
    return digest(
        held
        | {
            "version": FINGERPRINT_VERSION,
            "engine": model.engine.value,
            "model": model.weights_identity,
            "prompts": cell.prompt_set.identity(),
            "template": template_digest(),
            "temps": [repr(float(t)) for t in cell.temps],
            "top_p": repr(float(cell.top_p)),
            "top_k": cell.top_k,
            "max_new_tokens": cell.max_new_tokens.model_dump(),
            "sampling": experiment.sampling.model_dump(mode="json"),
            "datasets": datasets_identity(experiment),
        }
    )


def datasets_identity(experiment: PromptSweepExperiment) -> dict[str, Any]:
    """Return what makes two selections of items the same.

    Not in it: where a file is, and how replies to its items are scored. A dataset that is switched off
    (``max_items: 0``) is as good as not named.
    """
    return {
        "datasets": {
            d.name: {
                "type": d.type.value,
                "format": d.format.value,
                "columns": (d.columns or Columns()).model_dump() if d.format.has_columns else None,
                "max_items": d.max_items,
                "hub": d.hub and d.hub.model_dump(),
                "sha256": d.sha256,
            }
            for d in experiment.datasets
            if isinstance(d, DatasetSpec) and not d.is_switched_off
        },
        "limit_items": experiment.limit_items,
        "seed": experiment.sampling.seed,
    }


def answer_rules(experiment: PromptSweepExperiment) -> dict[str, str]:
    """Return, by dataset, how replies are compared with its golds."""
    return {d.name: d.answer_rule.value for d in experiment.datasets if isinstance(d, DatasetSpec)}


def experiment_fingerprint(spec: PromptSweepSpec) -> str:
    """Return the identity of a run: its trials, and how their answers are scored and compared."""
    return digest(
        {
            "kind": spec.kind,
            "version": FINGERPRINT_VERSION,
            "trials": {trial.slug: trial.fingerprint for trial in expand_trials(spec)},
            "answer_rules": answer_rules(spec.experiment),
            "unsupported": spec.experiment.unsupported.model_dump(mode="json"),
            "scoring": spec.experiment.scoring.model_dump(mode="json"),
            "statistics": spec.experiment.statistics.model_dump(mode="json"),
        }
    )
