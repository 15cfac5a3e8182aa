"""How many layers of a model go onto a GPU that is too small for all of them."""

from dataclasses import replace

from overnight.memory.estimate import Place
from overnight.memory.facts import ModelFacts
from overnight.memory.fits import MARGIN
from overnight.memory.llama_cpp_estimate import LlamaCppSettings, estimate_llama_cpp


def n_layers(facts: ModelFacts) -> int:
    """Return the layers of a model as llama.cpp counts them: its blocks, and the output."""
    return (len(facts.layers) or len(facts.layer_bytes)) + 1


def most_layers(
    facts: ModelFacts, settings: LlamaCppSettings, free_bytes: int, margin: float | None = None
) -> int:
    """Return how many layers are expected to fit onto the GPU; all of them where that cannot be computed.

    Args:
        facts: of the model.
        settings: how it is held; their layers do not count.
        free_bytes: on all GPUs that llama.cpp spreads it over.
        margin: share of it that is left free; None for the usual one.
    """
    room = free_bytes * (1 - (MARGIN if margin is None else margin))
    for n in range(n_layers(facts), 0, -1):
        needed = estimate_llama_cpp(facts, replace(settings, gpu_layers=n)).on(Place.DEVICE)
        if needed is None or needed <= room:
            return n
    return 0
