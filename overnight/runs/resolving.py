"""From the names in a sweep to what they stand for; everything that can be wrong is found here."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from overnight.datasets.reading import rows_digest
from overnight.engines.sources import with_digest
from overnight.errors import UsageError
from overnight.ids import file_digest
from overnight.spec.config_root import ConfigRoot
from overnight.spec.dataset import DatasetFormat, DatasetSpec
from overnight.spec.execution import EngineSettings
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.prompt_set import PromptSet
from overnight.spec.prompt_sweep import Defaults, ExplicitTrial, PromptSweepExperiment, PromptSweepSpec
from overnight.spec.sweep import SweepSpec
from overnight.spec.text_model import TextModelSpec
from overnight.spec.trait import TraitSpec
from overnight.spec.trait_capture import TraitCaptureExperiment, TraitCaptureSpec
from overnight.spec.uncertainty_sweep import UncertaintyExperiment
from overnight.text_models.sources import with_text_model_digest
from overnight.traits.sources import with_trait_digest

S = TypeVar("S", bound=SweepSpec)
A = TypeVar("A", Defaults, ExplicitTrial)
B = TypeVar("B")
C = TypeVar("C")


def resolve(spec: S, root: ConfigRoot) -> S:
    """Return the sweep with every name replaced by what it stands for; a resolved sweep comes back unchanged.

    Digests of datasets and of models are filled in. No model is downloaded or loaded; a dataset of the hub is read,
    because its rows are part of what the experiment is.

    Raises:
        UsageError: a file that is named does not exist or is not what it should be.
    """
    return _resolved(spec, _Finder(root, spec.execution.engine, dry_run=spec.experiment.dry_run))


def look_up(spec: SweepSpec, root: ConfigRoot) -> None:
    """Find everything that a sweep names, and read what is said of it here; no weights, and no rows of the hub.

    Raises:
        UsageError: a file that is named does not exist or is not what it should be.
    """
    _resolved(spec, _Finder(root, spec.execution.engine, dry_run=spec.experiment.dry_run, here_only=True))


def _resolved(spec: S, find: "_Finder") -> S:
    if isinstance(spec, PromptSweepSpec):
        return spec.model_copy(update={"experiment": _prompt_sweep(spec.experiment, find)})
    if isinstance(spec, TraitCaptureSpec):
        return spec.model_copy(update={"experiment": _trait_capture(spec.experiment, find)})
    return spec.model_copy(update={"experiment": _uncertainty_sweep(spec.experiment, find)})


@dataclass(frozen=True, slots=True)
class _Finder:
    """Finds what names stand for; what is no name any more comes back unchanged."""

    root: ConfigRoot
    settings: EngineSettings
    dry_run: bool
    here_only: bool = False  # digests of what lies elsewhere, or is large, are left out

    def model(self, value: str | ModelSpec) -> ModelSpec:
        if isinstance(value, ModelSpec) and value.sha256 is not None and value.has_stand_ins_resolved:
            return value  # its files are checked again before they are loaded
        found = self.root.model(value) if isinstance(value, str) else value
        if self.dry_run or found.engine is EngineKind.DRY_RUN:
            return found
        stand_ins = self.root.stand_ins(found)
        if self.here_only:
            return found
        ladder = tuple(with_digest(rung, self.settings) for rung in stand_ins)
        return with_digest(found.model_copy(update={"ladder": ladder}), self.settings)

    def prompt_set(self, value: str | PromptSet) -> PromptSet:
        return self.root.prompt_set(value) if isinstance(value, str) else value

    def text_model(self, value: str | TextModelSpec) -> TextModelSpec:
        found = self.root.text_model(value) if isinstance(value, str) else value
        is_known = found.sha256 is not None or self.dry_run or self.here_only
        return found if is_known else with_text_model_digest(found)

    def dataset(self, value: str | DatasetSpec) -> DatasetSpec:
        return _dataset(value, self.root, here_only=self.here_only)

    def questions(self, value: str | DatasetSpec) -> DatasetSpec:
        """Return a dataset whose replies are scored."""
        found = self.root.dataset(value) if isinstance(value, str) else value
        if not found.format.has_golds:
            raise UsageError(
                f"dataset {found.name}: format {found.format.value} has no right answers, and replies cannot be "
                "scored; name a dataset of questions"
            )
        return self.dataset(found)

    def prompts(self, value: str | DatasetSpec) -> DatasetSpec:
        """Return a dataset whose items are one user's turn each."""
        found = self.root.dataset(value) if isinstance(value, str) else value
        if found.format is DatasetFormat.CHATS:
            raise UsageError(
                f"dataset {found.name}: format chats has whole conversations, and prompts are asked for replies; "
                "name a dataset of prompts"
            )
        return self.dataset(found)

    def trait(self, value: str | TraitSpec) -> TraitSpec:
        found = self.root.trait(value) if isinstance(value, str) else value
        return found if found.sha256 is not None else with_trait_digest(found)


def _prompt_sweep(experiment: PromptSweepExperiment, find: _Finder) -> PromptSweepExperiment:
    def named(value: A) -> A:
        model = value.model and find.model(value.model)
        prompt_set = value.prompt_set and find.prompt_set(value.prompt_set)
        return value.model_copy(update={"model": model, "prompt_set": prompt_set})

    sweep = experiment.sweep and experiment.sweep.model_copy(
        update={
            "models": _each(find.model, experiment.sweep.models),
            "prompt_sets": _each(find.prompt_set, experiment.sweep.prompt_sets),
        }
    )
    return experiment.model_copy(
        update={
            "defaults": named(experiment.defaults),
            "sweep": sweep,
            "trials": _each(named, experiment.trials),
            "datasets": _each(find.questions, experiment.datasets),
        }
    )


def _uncertainty_sweep(experiment: UncertaintyExperiment, find: _Finder) -> UncertaintyExperiment:
    most = experiment.items_per_dataset

    def capped(value: str | DatasetSpec) -> DatasetSpec:
        found = find.questions(value)
        return found if most is None else found.model_copy(update={"max_items": most})

    datasets = tuple(capped(value) for value in experiment.datasets)
    if unknown := experiment.shots_from.keys() - {found.name for found in datasets}:
        raise UsageError(
            f"experiment.shots_from: {min(unknown)!r} is no dataset of the experiment; "
            f"there are: {', '.join(found.name for found in datasets)}"
        )
    return experiment.model_copy(
        update={
            "models": tuple(find.model(value) for value in experiment.models),
            "relevance": experiment.relevance and find.text_model(experiment.relevance),
            "entailment": experiment.entailment and find.text_model(experiment.entailment),
            "judge": experiment.judge and find.model(experiment.judge),
            "datasets": datasets,
            "shots_from": {name: find.questions(value) for name, value in experiment.shots_from.items()},
        }
    )


def _trait_capture(experiment: TraitCaptureExperiment, find: _Finder) -> TraitCaptureExperiment:
    return experiment.model_copy(
        update={
            "models": tuple(find.model(value) for value in experiment.models),
            "traits": tuple(find.trait(value) for value in experiment.traits),
            "datasets": tuple(find.prompts(value) for value in experiment.datasets),
        }
    )


def _each(function: Callable[[B], C], values: tuple[B, ...] | None) -> tuple[C, ...] | None:
    return None if values is None else tuple(function(value) for value in values)


def _dataset(value: str | DatasetSpec, root: ConfigRoot, *, here_only: bool) -> DatasetSpec:
    spec = root.dataset(value) if isinstance(value, str) else value
    if spec.sha256 is not None or spec.is_switched_off:
        return spec  # read when its run began (its items are frozen there), or not wanted at all
    if spec.path is None and here_only:
        return spec
    if spec.path is None:
        return spec.model_copy(update={"sha256": rows_digest(spec)})
    if not spec.path.is_file():
        variable = re.search(r"\$\{?(\w+)", str(spec.path))
        hint = f"; set the environment variable {variable[1]}" if variable else ""
        raise UsageError(f"dataset {spec.name}: path: {spec.path}: no such file{hint}")
    if here_only:
        return spec
    return spec.model_copy(update={"path": spec.path.resolve(), "sha256": file_digest(spec.path)})
