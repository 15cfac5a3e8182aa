"""What makes two selections of items, and two models, the same: parts of a trial's fingerprint."""

from typing import Any

from overnight.spec.dataset import Columns, DatasetSpec
from overnight.spec.experiment import Experiment
from overnight.spec.model import EngineKind, ModelSpec

# Raise it when the meaning of a trial's fields changes; frozen fingerprints in the tests say so.
FINGERPRINT_VERSION = 2


def weights_identity(model: ModelSpec) -> dict[str, Any]:
    """Return what makes two models answer the same.

    Not in it: the model's name. Where transformers loads the weights, how it holds them is not in their file.
    """
    held = {"held": model.held()} if model.engine is EngineKind.TRANSFORMERS else {}
    return held | {"engine": model.engine.value, "model": model.weights_identity}


def datasets_identity(experiment: Experiment) -> dict[str, Any]:
    """Return what makes two selections of items the same.

    Not in it: where a file is, and how replies to its items are scored. A dataset that is switched off
    (``max_items: 0``) is as good as not named.
    """
    return {
        "datasets": {
            d.name: {
                "type": d.type.value,
                "format": d.format.value,
                "columns": (
                    (d.columns or Columns()).model_dump(include=set(d.format.columns))
                    if d.format.has_columns
                    else None
                ),
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


def answer_rules(experiment: Experiment) -> dict[str, str]:
    """Return, by dataset, how replies are compared with its golds."""
    return {d.name: d.answer_rule.value for d in experiment.datasets if isinstance(d, DatasetSpec)}
