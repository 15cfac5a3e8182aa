"""The grid of a prompt sweep: which trials it has, and what makes a trial the same trial."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from overnight.engines.openai.dialects import require_taken
from overnight.errors import UsageError
from overnight.ids import digest, trial_slug
from overnight.planning.identity import FINGERPRINT_VERSION, answer_rules, datasets_identity, weights_identity
from overnight.planning.trial import Trial
from overnight.prompting.messages import Message, messages, template_digest, user_message
from overnight.records import Condition, Item
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.prompt_set import PromptSet
from overnight.spec.prompt_sweep import (
    Defaults,
    ExplicitTrial,
    PromptSweepExperiment,
    PromptSweepSpec,
    Sweep,
)
from overnight.spec.sampling import MaxNewTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTrial(Trial):
    """A model, a prompt set and a sampling setting; its conditions are control and treatment."""

    prompt_set: PromptSet

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

    @property
    def label(self) -> str:
        """The prompt set."""
        return self.prompt_set.name

    def beginning(self, condition: Condition) -> str:
        """Return the system prompt."""
        return self.prompt_set.text(condition)

    def turn(self, item: Item) -> str:
        """Return the instruction, the passage and the question."""
        return user_message(item)

    @property
    def turns(self) -> str:
        """The template, which all trials share."""
        return template_digest()

    def messages(self, item: Item, condition: Condition) -> tuple[Message, ...]:
        """Return the system prompt and the question."""
        return tuple(messages(self.prompt_set.text(condition), item))

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


def prompt_trials(spec: PromptSweepSpec) -> Iterator[PromptTrial]:
    """Yield the trials of a resolved sweep in the order of the config.

    Explicit trials win over the sweep; a list of the sweep wins over the default. The product runs over
    model, prompt set, top_p, top_k, closed and open limits; temperatures stay inside each trial.

    Raises:
        UsageError: an axis has no value.
    """
    experiment = spec.experiment
    cells = (
        [_explicit(trial, experiment.defaults) for trial in experiment.trials]
        if experiment.trials
        else _product(experiment.sweep or Sweep(), experiment.defaults)
    )
    yield from (_trial(cell, experiment) for cell in cells)


def prompt_sweep_identity(experiment: PromptSweepExperiment) -> dict[str, Any]:
    """Return what, beside its trials, makes two sweeps the same: how answers are scored and compared."""
    return {
        "answer_rules": answer_rules(experiment),
        "unsupported": experiment.unsupported.model_dump(mode="json"),
        "scoring": experiment.scoring.model_dump(mode="json"),
        "statistics": experiment.statistics.model_dump(mode="json"),
    }


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


def _trial(cell: _Cell, experiment: PromptSweepExperiment) -> PromptTrial:
    fields = {name: getattr(cell, name) for name in _Cell.__slots__}
    if experiment.dry_run:
        fields["model"] = cell.model.model_copy(update={"engine": EngineKind.DRY_RUN})
    _require_taken(cell, experiment)
    return PromptTrial(
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
    from its ``effective_config.yaml``.
    """
    return digest(
        weights_identity(model)
        | {
            "version": FINGERPRINT_VERSION,
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
