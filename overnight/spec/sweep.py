"""A sweep of any kind, told apart by its ``kind``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from overnight.errors import UsageError
from overnight.spec.best_of_k import BestOfKSpec
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import validate
from overnight.spec.trait_capture import TraitCaptureSpec
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec

SweepSpec = PromptSweepSpec | UncertaintySweepSpec | TraitCaptureSpec | BestOfKSpec

KINDS: Final[
    dict[
        str,
        type[PromptSweepSpec] | type[UncertaintySweepSpec] | type[TraitCaptureSpec] | type[BestOfKSpec],
    ]
] = {
    "prompt-sweep": PromptSweepSpec,
    "uncertainty-sweep": UncertaintySweepSpec,
    "trait-capture": TraitCaptureSpec,
    "best-of-k-sweep": BestOfKSpec,
}


def kind_of(value: Mapping[str, Any], path: Path) -> str:
    """Return the kind of the sweep that a mapping holds; without a kind it is a prompt sweep.

    Raises:
        UsageError: its kind is not known.
    """
    kind = value.get("kind", "prompt-sweep")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UsageError(f"{path}: kind: found {kind!r}, wanted one of {', '.join(KINDS)}")
    return kind


def validate_sweep(value: Mapping[str, Any], path: Path) -> SweepSpec:
    """Return the sweep that a mapping holds.

    Raises:
        UsageError: its kind is not known, or a key or a value is wrong.
    """
    return validate(KINDS[kind_of(value, path)], dict(value), path)
