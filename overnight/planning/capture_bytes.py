"""What a capture takes on disk: it may be many times what the answers take, so it is said before it is made."""

from collections.abc import Sequence
from dataclasses import dataclass

from overnight.activations.points import Component
from overnight.planning.trait_trials import TraitTrial
from overnight.records import Condition, Item
from overnight.spec.trait_capture import TraitCaptureExperiment

_BYTES_PER_TOKEN = 2  # of prompt text, at least; English has about four
_TEMPLATE_TOKENS = 64
_ROW_BYTES = 12  # of a row of projections in Parquet: three numbers, and what they are of
_WIDE = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """How many numbers a model has of each token, by what they are."""

    n_layers: int
    hidden: int
    heads: int
    queries: int
    keys: int
    values: int
    ffn: int

    def of(self, component: Component) -> int:
        """Return how wide a component is."""
        return {
            Component.Q: self.queries,
            Component.K: self.keys,
            Component.V: self.values,
            Component.O_PROJ_INPUT: self.queries,
            Component.GATE: self.ffn,
            Component.UP: self.ffn,
            Component.GATED: self.ffn,
        }.get(component, self.hidden)


def capture_bytes(
    trial: TraitTrial, items: Sequence[Item], experiment: TraitCaptureExperiment, widths: Widths
) -> int:
    """Return the bytes of everything that is read of the prompts of a trial, at most.

    Args:
        trial: whose prompts are read.
        items: the prompts.
        experiment: what is read of them.
        widths: of the model.
    """
    n_points = len(experiment.sublayers) * len(experiment.layers or range(widths.n_layers))
    n_traits = len(experiment.traits)
    per_token = n_points * (n_traits * (2 * 4 + _ROW_BYTES) + 4)  # projection and z; the norm
    if experiment.attention_summary:
        per_token += widths.n_layers * 4 * 4
    if raw := experiment.raw:
        n_raw = len(raw.layers or range(widths.n_layers))
        per_token += sum(widths.of(each) for each in raw.sublayers) * n_raw * _WIDE[raw.dtype]
    if trial.internals:
        per_token += sum(map(widths.of, Component)) * 4
    total = 0
    for item in items:
        text = "".join(turn["content"] for turn in trial.messages(item, Condition.CONTROL))
        n_tokens = len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN + _TEMPLATE_TOKENS
        n_tokens += trial.token_limit(item.type)
        total += n_tokens * per_token
        if trial.internals and trial.internals.attention:
            total += widths.heads * n_tokens * n_tokens * 2
    return total
