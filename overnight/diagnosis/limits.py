"""Which key of a sweep's file says how long an answer of a trial may be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overnight.records import ItemType


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLimits:
    """The longest answers of a trial in tokens, and the keys that say so, both by type of item."""

    limits: Mapping[str, int]
    keys: Mapping[str, str]


def token_limits(config: Mapping[str, Any], requested: Mapping[str, Any]) -> TokenLimits:
    """Return the limits of a trial and where they stand.

    Args:
        config: a run's ``effective_config.yaml``.
        requested: what the manifest says was asked of the trial.
    """
    limits = dict(requested.get("max_new_tokens") or {})
    experiment = config.get("experiment") or {}
    keys = {kind.value: _key(experiment, requested, kind.value) for kind in ItemType}
    return TokenLimits(limits=limits, keys=keys)


def _key(experiment: Mapping[str, Any], requested: Mapping[str, Any], kind: str) -> str:
    if isinstance(experiment.get("max_new_tokens"), int):
        return "experiment.max_new_tokens"  # an uncertainty sweep: one limit for all
    for index, trial in enumerate(experiment.get("trials") or ()):
        own = trial.get("max_new_tokens")
        if own and own.get(kind) == (requested.get("max_new_tokens") or {}).get(kind):
            return f"experiment.trials[{index}].max_new_tokens.{kind}"
    axis = (experiment.get("sweep") or {}).get("max_new_tokens") or {}
    where = "sweep" if axis.get(kind) else "defaults"
    return f"experiment.{where}.max_new_tokens.{kind}"
