"""From a command line to a sweep: the config file, what was changed in it, and how it is to be run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.cli.arguments import split_list
from overnight.errors import UsageError
from overnight.runs.opening import override_rows
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot, find_sweep
from overnight.spec.overrides import Override, Overrides
from overnight.spec.preset import apply_preset
from overnight.spec.reading import read_mapping
from overnight.spec.sweep import SweepSpec, kind_of, validate_sweep

_AXES: dict[str, tuple[str, type[Any]]] = {
    "models": ("experiment.sweep.models", str),
    "prompt_sets": ("experiment.sweep.prompt_sets", str),
    "temps": ("experiment.sweep.temps", float),
    "top_p": ("experiment.sweep.top_p", float),
    "top_k": ("experiment.sweep.top_k", int),
    "datasets": ("experiment.datasets", str),
}
_AXES_OF: dict[str, dict[str, tuple[str, type[Any]]]] = {
    "prompt-sweep": _AXES,
    "uncertainty-sweep": {"models": ("experiment.models", str), "datasets": ("experiment.datasets", str)},
    "trait-capture": {"models": ("experiment.models", str), "datasets": ("experiment.datasets", str)},
    "best-of-k-sweep": {
        "models": ("experiment.models", str),
        "temps": ("experiment.sampling.temperatures", float),
        "datasets": ("experiment.datasets", str),
    },
}
_VALUES = {
    "limit_items": "experiment.limit_items",
    "dry_run": "experiment.dry_run",
    "parts_per_dataset": "execution.parts_per_dataset",
    "lines_per_part": "execution.lines_per_part",
    "max_concurrent_jobs": "execution.max_concurrent_requests",
    "condition": "execution.condition",
    "deadline": "execution.deadline",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSweep:
    """A sweep as the command line means it, with every name resolved."""

    spec: SweepSpec
    overrides: tuple[Override, ...]
    config_dir: Path
    kept: tuple[str, ...] = ()  # keys of the preset for which the config has a value of its own

    @property
    def override_rows(self) -> tuple[dict[str, Any], ...]:
        """Overrides as plain rows."""
        return override_rows(self.overrides)


def load_sweep(
    config: str,
    *,
    changes: dict[str, Any],
    assignments: list[str] | None = None,
    no_sweep: bool = False,
    preset: str | None = None,
) -> LoadedSweep:
    """Read a config, apply what the command line says, validate it, and resolve every name in it.

    Args:
        config: a path, or the name of a sweep that is shipped.
        changes: values of options by their names; None means the option was not given.
        assignments: the ``key=value`` of every ``--set``.
        no_sweep: leave out the config's ``sweep`` and ``trials``.
        preset: name of the preset for what neither the config nor the command line says.

    Raises:
        UsageError: something in the config, in what it names or on the command line is wrong.
    """
    path = find_sweep(config)
    value = read_mapping(path, "a sweep")
    kind = kind_of(value, path)
    overrides = Overrides(value)
    experiment = value.get("experiment")
    if no_sweep and isinstance(experiment, dict):
        for key in ("sweep", "trials"):
            if experiment.get(key) is not None:
                overrides.set(f"experiment.{key}", None, "--no-sweep")
    _apply(overrides, changes, experiment, path, _AXES_OF[kind])
    for assignment in assignments or []:
        overrides.set_text(assignment)
    root = ConfigRoot.of_sweep(path)
    kept = apply_preset(overrides, root.preset(preset)) if preset is not None else ()
    spec = validate_sweep(overrides.value, path)
    return LoadedSweep(
        spec=resolve(spec, root), overrides=tuple(overrides.made), config_dir=root.folder, kept=kept
    )


def _apply(
    overrides: Overrides,
    changes: dict[str, Any],
    experiment: Any,
    path: Path,
    axes: Mapping[str, tuple[str, type[Any]]],
) -> None:
    if changes.get("model_id") is not None:
        if changes.get("models") is not None:
            raise UsageError("--model-id and --models both name models; give one of them")
        changes = changes | {"models": changes["model_id"]}
    _apply_axes(overrides, changes, experiment, path, axes)
    if changes.get("no_cache"):
        overrides.set("execution.request_cache", False, "--no-cache")
    for name, key in _VALUES.items():
        if changes.get(name) is not None:
            overrides.set(key, changes[name], f"--{name.replace('_', '-')}")


def _apply_axes(
    overrides: Overrides,
    changes: dict[str, Any],
    experiment: Any,
    path: Path,
    axes: Mapping[str, tuple[str, type[Any]]],
) -> None:
    for name in _AXES:
        option = f"--{name.replace('_', '-')}"
        texts = split_list(changes.get(name))
        if texts is None:
            continue
        if name not in axes:
            raise UsageError(
                f"{option}: no axis of this experiment ({path}); change the config, or use --set"
            )
        key, convert = axes[name]
        if not texts:
            raise UsageError(f"{option}: an empty list; name at least one value")
        if key.startswith("experiment.sweep.") and isinstance(experiment, dict) and experiment.get("trials"):
            raise UsageError(
                f"{option}: {path} lists explicit trials, which a list cannot change; add --no-sweep to leave them out"
            )
        overrides.set(key, [_converted(text, convert, option) for text in texts], option)


def _converted(text: str, convert: type[Any], option: str) -> Any:
    try:
        return convert(text)
    except ValueError:
        raise UsageError(f"{option}: found {text!r}, wanted a {convert.__name__}") from None
