"""Presets: settings under a name, for a kind of machine or for one that was measured (``overnight tune``)."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from overnight.spec.base import Name, Spec
from overnight.spec.execution import Execution
from overnight.spec.model import ModelSpec
from overnight.spec.overrides import Overrides
from overnight.spec.sampling import MaxNewTokens, Temperatures, TopK, TopP

# The axis of a sweep that says what a default would say otherwise.
_AXES = {
    "model": "models",
    "temps": "temps",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_new_tokens.closed": "max_new_tokens.closed",
    "max_new_tokens.open": "max_new_tokens.open",
}
_DEFAULTS = "experiment.defaults."


def _without_prices(execution: Execution) -> Execution:
    if "pricing" in execution.model_fields_set:
        raise ValueError("pricing: no setting of a machine; put it into the sweep")
    return execution


class PresetDefaults(Spec):
    """``experiment.defaults``, as far as a preset may say it."""

    model: Name | ModelSpec | None = None
    temps: Temperatures | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    max_new_tokens: MaxNewTokens | None = None


class PresetExperiment(Spec):
    """What of an experiment a preset may say: defaults, for what the sweep leaves open."""

    defaults: PresetDefaults = PresetDefaults()


class Preset(Spec):
    """One file in ``presets/``. What it does not name stays as it is."""

    name: Name
    description: str = ""
    execution: Annotated[Execution, AfterValidator(_without_prices)] = Execution()
    experiment: PresetExperiment = PresetExperiment()

    def values(self) -> dict[str, Any]:
        """Return what it says, by dotted path."""
        said = self.model_dump(mode="json", exclude_unset=True, include={"execution", "experiment"})
        return dict(_leaves(said))


def apply_preset(overrides: Overrides, preset: Preset) -> tuple[str, ...]:
    """Put what a preset says where a config says nothing; return the keys that the config keeps for itself.

    Args:
        overrides: the config with what the command line changed in it, which both win over a preset.
        preset: where its values come from.

    Raises:
        UsageError: the config has something else than a mapping where the preset has a key below it.
    """
    kept = []
    for key, value in preset.values().items():
        if _is_said(overrides.value, key):
            kept.append(key)
        else:
            overrides.set(key, value, f"--preset {preset.name}")
    return tuple(kept)


def _is_said(config: Mapping[str, Any], key: str) -> bool:
    """Return whether a config has a value of its own for a key, itself or by an axis of its sweep."""
    if _has(config, key):
        return True
    default = key.removeprefix(_DEFAULTS)
    if default == key or not isinstance(config.get("experiment"), dict):
        return False
    experiment = config["experiment"]
    trials = experiment.get("trials")
    if trials and isinstance(trials, list):
        return all(isinstance(trial, dict) and _has(trial, default.partition(".")[0]) for trial in trials)
    sweep = experiment.get("sweep")
    return isinstance(sweep, dict) and _has(sweep, _AXES[default])


def _has(config: Mapping[str, Any], key: str) -> bool:
    first, _, rest = key.partition(".")
    below = config.get(first)
    return first in config if not rest else isinstance(below, dict) and _has(below, rest)


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, below in value.items():
        if isinstance(below, dict) and name != "model":
            yield from _leaves(below, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", below
