"""What llama.cpp needs, from what its graph allocates.

Formulas follow llama.cpp itself (src/llama-context.cpp, src/llama-kv-cache.cpp, src/llama-kv-cache-iswa.cpp) with
flash attention, which it uses wherever it can; they give the sizes that its log names "KV buffer", "compute buffer"
and "output buffer". `overnight bench memory` compares their sum with the peak of the process.
"""

from dataclasses import asdict, dataclass, replace

from overnight.memory.estimate import MIB, MemoryEstimate, MemoryPart, Place, kv_cache_bytes, padded
from overnight.memory.facts import ModelFacts
from overnight.memory.repacking import repacked_bytes

PROMPT_CACHE_BYTES = 512 * MIB  # what the host allows for prefixes of earlier prompts
_CELLS_PADDED_TO = 256  # llama-context.cpp and llama-kv-cache-iswa.cpp
_UBATCH_TOKENS = 512  # computed at once; llama.cpp's default
_INPUT_BYTES_PER_TOKEN = 24  # its number, its position and its two places in the cache
# Of the process, beside what llama.cpp allocates for the model. Measured on Linux, with models of 32,000 to 128,000
# tokens, with and without merges; other systems are corrected by what is measured there.
_INTERPRETER_BYTES = 14 * MIB
_LIBRARY_BYTES = 25 * MIB  # pages of the interpreter and of llama.cpp; shared by all processes that run them
_SLOT_BYTES = 1 * MIB  # a slot's tokens, its sampler, its connection
_BYTES_PER_VOCABULARY_ENTRY = 200  # text, score, kind, and the way back from the text
_BYTES_PER_MERGE = 370  # two texts, and the way from them to a rank
_CUDA_CONTEXT_BYTES = 450 * MIB  # driver, kernels and cuBLAS workspace of one process; not measured here
_CHECKPOINT_SPACING = 8192  # tokens; the server's default
_MOST_CHECKPOINTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppSettings:
    """How llama.cpp holds a model."""

    slots: int  # requests that are answered at once
    context_tokens: int  # of each slot
    kv_type: str = "bf16"  # what the host takes where answers are not to depend on the batch; f16 else
    gpu_layers: int = 0  # 0: the model is on the host; -1: all of it on the GPU
    saved_tokens: int | None = None
    """Tokens of earlier prompts that will be saved for their prefixes; None for as many as the limit allows."""
    prompt_cache_bytes: int = PROMPT_CACHE_BYTES
    repacked_types: tuple[str, ...] = ()  # of weights on the host that are held twice, see `repacking`


def estimate_llama_cpp(facts: ModelFacts, settings: LlamaCppSettings) -> MemoryEstimate:
    """Return what llama.cpp needs with these settings, at its peak.

    Weights on the host are mapped from their file: they count once, as pages of the file, and the kernel may take
    them back under pressure, at the price of reading them again for every token.
    """
    weights = MemoryEstimate(
        engine="llama_cpp",
        settings=asdict(settings),
        parts=_weights(facts, settings),
        undefined_because=facts.unknown_because,
        notes=facts.notes,
    )
    if facts.unknown_because:
        return weights
    place = Place.DEVICE if settings.gpu_layers else Place.HOST
    parts = [
        *weights.parts,
        MemoryPart(name="repacked weights", n_bytes=_repacked_bytes(facts, settings)),
        *_kv_cache(facts, settings),
        MemoryPart(name="compute buffer", n_bytes=_compute_bytes(facts, settings), place=place),
        MemoryPart(name="output buffer", n_bytes=settings.slots * facts.vocab_size * 4),
        MemoryPart(name="saved prompts", n_bytes=_saved_bytes(facts, settings)),
        MemoryPart(name="checkpoints", n_bytes=_checkpoint_bytes(facts, settings)),
        MemoryPart(name="vocabulary", n_bytes=_vocabulary_bytes(facts)),
        MemoryPart(
            name="process", n_bytes=_INTERPRETER_BYTES + _LIBRARY_BYTES + settings.slots * _SLOT_BYTES
        ),
    ]
    if settings.gpu_layers:
        parts.append(MemoryPart(name="GPU context", n_bytes=_CUDA_CONTEXT_BYTES, place=Place.DEVICE))
    return replace(weights, parts=tuple(part for part in parts if part.n_bytes))


def cells(context_tokens: int) -> int:
    """Return the tokens of one slot that there is room for: the context, padded."""
    return padded(context_tokens, _CELLS_PADDED_TO)


def sliding_cells(facts: ModelFacts, context_tokens: int) -> int | None:
    """Return the tokens of one slot that a layer with a window has room for; None without a window.

    The window and one batch, padded, and never more than the context (llama-kv-cache-iswa.cpp).
    """
    if facts.sliding_window is None:
        return None
    wanted = padded(facts.sliding_window + _ubatch(context_tokens), _CELLS_PADDED_TO)
    return min(wanted, cells(context_tokens))


def bytes_per_token(facts: ModelFacts, kv_type: str) -> int:
    """Return what a token takes in the cache while no window has passed it."""
    return kv_cache_bytes(facts.layers, 1, kv_type=kv_type)


def _offloaded(facts: ModelFacts, settings: LlamaCppSettings) -> int:
    """Return how many layers are on the GPU: the last ones."""
    n = len(facts.layers) or max(1, len(facts.layer_bytes))
    return n if settings.gpu_layers < 0 else min(n, settings.gpu_layers)


def _has_all_on_the_gpu(facts: ModelFacts, settings: LlamaCppSettings) -> bool:
    return settings.gpu_layers < 0 or settings.gpu_layers > len(facts.layers)


def _repacked_bytes(facts: ModelFacts, settings: LlamaCppSettings) -> int:
    n_device = _offloaded(facts, settings) if settings.gpu_layers else 0
    return repacked_bytes(
        facts,
        settings.repacked_types,
        n_layers=len(facts.layers) - n_device,
        has_output=not _has_all_on_the_gpu(facts, settings),
    )


def _weights(facts: ModelFacts, settings: LlamaCppSettings) -> tuple[MemoryPart, ...]:
    if not settings.gpu_layers:
        return (MemoryPart(name="weights", n_bytes=facts.weight_bytes),)
    n_device = _offloaded(facts, settings)
    device = sum(facts.layer_bytes[-n_device:]) if facts.layer_bytes else 0
    is_whole = _has_all_on_the_gpu(facts, settings)
    rest = facts.other_bytes
    if facts.unknown_because and is_whole:
        device, rest = facts.weight_bytes - facts.embedding_bytes, facts.embedding_bytes
    elif (
        is_whole
    ):  # the output goes too, a copy of the embedding where it is shared; the embedding itself stays
        device += rest - facts.embedding_bytes
        device += 0 if facts.output_bytes else facts.embedding_bytes
        rest = facts.embedding_bytes
    host = sum(facts.layer_bytes[: len(facts.layer_bytes) - n_device]) + rest
    return (
        MemoryPart(name="weights", n_bytes=device, place=Place.DEVICE),
        MemoryPart(name="weights", n_bytes=host),
    )


def _kv_cache(facts: ModelFacts, settings: LlamaCppSettings) -> list[MemoryPart]:
    """Return keys and values of all slots, where their layers are."""
    n_device = _offloaded(facts, settings) if settings.gpu_layers else 0
    first = len(facts.layers) - n_device
    found = []
    for place, layers in ((Place.HOST, facts.layers[:first]), (Place.DEVICE, facts.layers[first:])):
        n_bytes = settings.slots * kv_cache_bytes(
            layers,
            cells(settings.context_tokens),
            sliding_tokens=sliding_cells(facts, settings.context_tokens),
            kv_type=settings.kv_type,
        )
        found.append(MemoryPart(name="KV cache", n_bytes=n_bytes, place=place))
    return found


def _compute_bytes(facts: ModelFacts, settings: LlamaCppSettings) -> int:
    """Return the size of the buffer for what one batch computes, as the scheduler reserves it.

    Alive at once, in float32, for each of at most 512 tokens: the three wide tensors of a gated feed-forward block
    (gate, up and their product) and five of the hidden size, among them the residual and those whose room is too
    small to be used again for wide ones. Beside them the inputs, of which the masks count: one half-precision number
    for each token and each cell of the cache of a slot, for each kind of cache.
    """
    n_tokens = _ubatch(settings.context_tokens * settings.slots)
    layer = n_tokens * (3 * facts.ffn_size + 5 * facts.hidden_size) * 4
    logits = settings.slots * (facts.vocab_size + facts.hidden_size) * 4
    columns = 0
    if any(not layer.is_sliding for layer in facts.layers):
        columns += cells(settings.context_tokens)
    if any(layer.is_sliding for layer in facts.layers):
        columns += sliding_cells(facts, settings.context_tokens) or 0
    return max(layer, logits) + n_tokens * (columns * 2 + _INPUT_BYTES_PER_TOKEN)


def _saved_bytes(facts: ModelFacts, settings: LlamaCppSettings) -> int:
    """Return what the prefixes of earlier prompts take, on the host wherever the model is."""
    if settings.saved_tokens is None:
        return settings.prompt_cache_bytes
    saved = settings.saved_tokens * bytes_per_token(facts, settings.kv_type)
    return min(settings.prompt_cache_bytes, saved)


def _checkpoint_bytes(facts: ModelFacts, settings: LlamaCppSettings) -> int:
    """Return what the server keeps of layers with a window, so that a prompt can be taken up again in its middle."""
    sliding = [layer for layer in facts.layers if layer.is_sliding]
    kept = sliding_cells(facts, settings.context_tokens)
    if not sliding or kept is None:
        return 0
    one = kv_cache_bytes(sliding, min(kept, facts.sliding_window or kept), kv_type=settings.kv_type)
    n = min(_MOST_CHECKPOINTS, 1 + settings.context_tokens // _CHECKPOINT_SPACING)
    return settings.slots * n * one


def _vocabulary_bytes(facts: ModelFacts) -> int:
    return facts.vocab_size * _BYTES_PER_VOCABULARY_ENTRY + facts.n_merges * _BYTES_PER_MERGE


def _ubatch(context_tokens: int) -> int:
    return min(_UBATCH_TOKENS, context_tokens)
