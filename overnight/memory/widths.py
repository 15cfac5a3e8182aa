"""How wide the states of a model are, from the header of its files."""

from overnight.errors import UsageError
from overnight.memory.facts import ModelFacts, read_facts
from overnight.memory.weights import local_weights
from overnight.planning.capture_bytes import Widths
from overnight.spec.best_of_k import BestOfKSpec
from overnight.spec.model import ModelSpec
from overnight.spec.sweep import SweepSpec
from overnight.spec.trait_capture import TraitCaptureSpec


def widths_of_models(spec: SweepSpec) -> dict[str, Widths]:
    """Return, by name, the widths of the models whose states are read; those that are not here yet are left out."""
    if not isinstance(spec, TraitCaptureSpec | BestOfKSpec):
        return {}
    models = [model for model in spec.experiment.models if isinstance(model, ModelSpec)]
    found = {model.name: _widths(model) for model in models}
    return {name: widths for name, widths in found.items() if widths is not None}


def widths(facts: ModelFacts) -> Widths:
    """Return the widths that stand in a model's header."""
    layers = facts.layers
    return Widths(
        n_layers=len(layers),
        hidden=facts.hidden_size,
        heads=facts.heads,
        queries=facts.heads * max(layer.k_dim for layer in layers),
        keys=max(layer.kv_heads * layer.k_dim for layer in layers),
        values=max(layer.kv_heads * layer.v_dim for layer in layers),
        ffn=facts.ffn_size,
    )


def _widths(model: ModelSpec) -> Widths | None:
    path = local_weights(model).path
    if path is None:
        return None
    try:
        return widths(read_facts(path))
    except UsageError:
        return None  # of a file that cannot be read its loading says more
