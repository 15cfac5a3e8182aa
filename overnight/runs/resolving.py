"""From the names in a sweep to what they stand for; everything that can be wrong is found here."""

import re
from collections.abc import Callable
from typing import TypeVar

from overnight.datasets.reading import rows_digest
from overnight.engines.sources import with_digest
from overnight.errors import UsageError
from overnight.ids import file_digest
from overnight.spec.config_root import ConfigRoot
from overnight.spec.dataset import DatasetSpec
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.prompt_set import PromptSet
from overnight.spec.execution import EngineSettings
from overnight.spec.prompt_sweep import PromptSweepSpec

A = TypeVar("A")
B = TypeVar("B")


def resolve(spec: PromptSweepSpec, root: ConfigRoot) -> PromptSweepSpec:
    """Return the sweep with every name replaced by what it stands for; a resolved sweep comes back unchanged.

    Digests of datasets and of models are filled in. No model is downloaded or loaded; a dataset of the hub is read,
    because its rows are part of what the experiment is.

    Raises:
        UsageError: a file that is named does not exist or is not what it should be.
    """
    experiment = spec.experiment
    dry_run = experiment.dry_run

    def model(value: str | ModelSpec | None) -> ModelSpec | None:
        if value is None:
            return None
        if isinstance(value, ModelSpec) and value.sha256 is not None and value.has_stand_ins_resolved:
            return value  # its files are checked again before they are loaded
        found = root.model(value) if isinstance(value, str) else value
        if dry_run or found.engine is EngineKind.DRY_RUN:
            return found
        return _with_digests(found, root, spec.execution.engine)

    def prompt_set(value: str | PromptSet | None) -> PromptSet | None:
        return root.prompt_set(value) if isinstance(value, str) else value

    defaults = experiment.defaults.model_copy(
        update={
            "model": model(experiment.defaults.model),
            "prompt_set": prompt_set(experiment.defaults.prompt_set),
        }
    )
    sweep = experiment.sweep and experiment.sweep.model_copy(
        update={
            "models": _each(model, experiment.sweep.models),
            "prompt_sets": _each(prompt_set, experiment.sweep.prompt_sets),
        }
    )
    trials = experiment.trials and tuple(
        trial.model_copy(update={"model": model(trial.model), "prompt_set": prompt_set(trial.prompt_set)})
        for trial in experiment.trials
    )
    datasets = tuple(_dataset(value, root) for value in experiment.datasets)
    resolved = experiment.model_copy(
        update={"defaults": defaults, "sweep": sweep, "trials": trials, "datasets": datasets}
    )
    return spec.model_copy(update={"experiment": resolved})


def _with_digests(model: ModelSpec, root: ConfigRoot, settings: EngineSettings) -> ModelSpec:
    ladder = tuple(with_digest(rung, settings) for rung in root.stand_ins(model))
    return with_digest(model.model_copy(update={"ladder": ladder}), settings)


def _each(function: Callable[[A], B], values: tuple[A, ...] | None) -> tuple[B, ...] | None:
    return None if values is None else tuple(function(value) for value in values)


def _dataset(value: str | DatasetSpec, root: ConfigRoot) -> DatasetSpec:
    spec = root.dataset(value) if isinstance(value, str) else value
    if spec.sha256 is not None or spec.is_switched_off:
        return spec  # read when its run began (its items are frozen there), or not wanted at all
    if spec.path is None:
        return spec.model_copy(update={"sha256": rows_digest(spec)})
    if not spec.path.is_file():
        variable = re.search(r"\$\{?(\w+)", str(spec.path))
        hint = f"; set the environment variable {variable[1]}" if variable else ""
        raise UsageError(f"dataset {spec.name}: path: {spec.path}: no such file{hint}")
    return spec.model_copy(update={"path": spec.path.resolve(), "sha256": file_digest(spec.path)})
