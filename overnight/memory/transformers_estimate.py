"""What transformers needs: weights as they are held, and what one batch takes.

From the shapes of the computation, for attention that does not write its scores out (sdpa); `overnight bench memory`
compares it with the peak of a process.
"""

from dataclasses import asdict, dataclass, replace
from typing import Self

from overnight.engines.transformers.sharing import MOST_TOKENS
from overnight.memory.estimate import MIB, MemoryEstimate, MemoryPart, Place
from overnight.memory.facts import ModelFacts, TensorFacts, is_embedding, is_output
from overnight.spec.model import ModelSpec

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_NF4_BLOCK = 64  # weights that share a float32 scale (bitsandbytes without double quantisation)
# Of a process that has imported torch and transformers and computed a token, beside the model and the tokenizer.
# Measured on Linux without CUDA.
_PROCESS_BYTES = 398 * MIB
_BITSANDBYTES_BYTES = 53 * MIB  # what importing it takes, with the compiler of torch; measured likewise
_BYTES_PER_VOCABULARY_ENTRY = 528  # with its merge; measured as what 213,000 more entries take
_CUDA_CONTEXT_BYTES = 500 * MIB  # driver, kernels, cuBLAS workspaces; not measured here
# What the C library keeps of blocks of changing sizes, as a multiple of what is alive; measured with glibc. Where
# bitsandbytes holds the matrices, the host has large blocks given back at once (`give_large_blocks_back`).
_HOST_ALLOCATOR = 2
_STORED_BYTES = {"F32": 4, "BF16": 2, "F16": 2}
_INT8_PRODUCTS = 4  # tensors of 32 bits that are alive while one is scaled (int8_mm_dequant)
_LOGIT_COPIES = 3  # as computed, in float32, and its log-softmax
_OF_A_BATCH = ("KV cache", "activations", "logits")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformersSettings:
    """How transformers holds a model, and its largest batch."""

    rows: int
    prompt_tokens: int  # of a row, padded
    new_tokens: int  # of a row, at most
    dtype: str = "float32"
    bits: str | None = None  # int8 or nf4: how bitsandbytes holds the matrices of the layers
    is_on_device: bool = False
    captured_layers: int = 0  # whose activations are kept for every token
    captured_components: int = (
        1  # of a layer, each as wide as the residual: what enters it, attention, what leaves it
    )
    captured_bytes: int = 4  # of one number of an activation

    @classmethod
    def of(cls, model: ModelSpec, rows: int, context_tokens: int, *, is_on_device: bool) -> Self:
        """Return the settings of a model: rows that each fill their context with their prompt."""
        return cls(
            rows=rows,
            prompt_tokens=context_tokens,
            new_tokens=0,
            dtype=model.compute_dtype,
            bits=model.held_in_bits,
            is_on_device=is_on_device,
        )


def estimate_transformers(facts: ModelFacts, settings: TransformersSettings) -> MemoryEstimate:
    """Return what transformers needs with these settings, at its peak."""
    place = Place.DEVICE if settings.is_on_device else Place.HOST
    size = _DTYPE_BYTES[settings.dtype]
    weights = MemoryPart(
        name="weights",
        n_bytes=sum(held_bytes(tensor, settings.dtype, settings.bits) for tensor in facts.tensors),
        place=place,
    )
    made = MemoryEstimate(
        engine="transformers",
        settings=asdict(settings),
        parts=(weights,),
        undefined_because=facts.unknown_because,
        notes=facts.notes,
    )
    if facts.unknown_because:
        return made
    parts = [
        weights,
        MemoryPart(name="KV cache", n_bytes=_cache_bytes(facts, settings, size), place=place),
        MemoryPart(name="activations", n_bytes=_activation_bytes(facts, settings, size), place=place),
        MemoryPart(name="logits", n_bytes=settings.rows * facts.vocab_size * 4 * _LOGIT_COPIES, place=place),
        MemoryPart(
            name="captured activations",
            n_bytes=captured_bytes(facts, settings),
        ),
        MemoryPart(name="tokenizer", n_bytes=facts.vocab_size * _BYTES_PER_VOCABULARY_ENTRY),
        MemoryPart(name="process", n_bytes=_PROCESS_BYTES),
    ]
    mapped = _mapped_bytes(facts, settings)
    if settings.bits is not None:
        parts.append(MemoryPart(name="bitsandbytes", n_bytes=_BITSANDBYTES_BYTES))
        parts.append(MemoryPart(name="file", n_bytes=mapped))
    elif loading := max(0, mapped - sum(part.n_bytes for part in parts if part.name in _OF_A_BATCH)):
        parts.append(MemoryPart(name="file while loading", n_bytes=loading))
    if settings.is_on_device:
        parts.append(MemoryPart(name="GPU context", n_bytes=_CUDA_CONTEXT_BYTES, place=place))
    return replace(made, parts=tuple(part for part in parts if part.n_bytes))


def held_bytes(tensor: TensorFacts, dtype: str, bits: str | None) -> int:
    """Return the bytes of a tensor as transformers holds it.

    bitsandbytes takes matrices of the layers only. int8 (LLM.int8(), Dettmers et al. 2022, arXiv:2208.07339): a byte a
    weight and a float32 scale a row. nf4 (QLoRA, Dettmers et al. 2023, arXiv:2305.14314): half a byte a weight and a
    float32 scale for 64 of them.
    """
    if bits == "int8" and is_held_in_bits(tensor):
        return tensor.n_elements + 4 * tensor.n_rows
    if bits == "nf4" and is_held_in_bits(tensor):
        return -(-tensor.n_elements // 2) + 4 * -(-tensor.n_elements // _NF4_BLOCK)
    return tensor.n_elements * _DTYPE_BYTES[dtype]


def captured_bytes(facts: ModelFacts, settings: TransformersSettings) -> int:
    """Return what the captured activations of a batch take: layers x components x tokens x hidden size x bytes.

    All tokens of prompts and answers, on the host, until the batch is written; attention weights are not among them.
    """
    tokens = settings.rows * (settings.prompt_tokens + settings.new_tokens)
    kept = settings.captured_layers * settings.captured_components
    return kept * tokens * facts.hidden_size * settings.captured_bytes


def is_held_in_bits(tensor: TensorFacts) -> bool:
    """True for what bitsandbytes takes: matrices of the layers."""
    return tensor.is_matrix and not is_embedding(tensor.name) and not is_output(tensor.name)


def _mapped_bytes(facts: ModelFacts, settings: TransformersSettings) -> int:
    """Return the bytes of the file that are mapped beside the weights that were made of it.

    Weights on the host that are stored as they are held are the mapped file itself. Where bitsandbytes holds the
    matrices, embedding and norms still are, and with them all of the file stays. On a GPU they are copied, and the
    pages of the file are the kernel's to drop. What is dequantised from GGUF is stored as it is computed in.
    """
    if settings.is_on_device:
        return 0
    size = _DTYPE_BYTES[settings.dtype]
    is_gguf = facts.file_format == "gguf"
    is_same = is_gguf or all(
        _STORED_BYTES.get(tensor.stored_as) == size for tensor in facts.tensors if tensor.is_matrix
    )
    if settings.bits is None:
        return 0 if is_same else facts.weight_bytes
    file = facts.n_parameters * size if is_gguf else facts.weight_bytes
    plain = sum(tensor.n_elements * size for tensor in facts.tensors if not is_held_in_bits(tensor))
    return file - plain if is_same else file


def _cache_bytes(facts: ModelFacts, settings: TransformersSettings, size: int) -> int:
    """Return the keys and values of the batch, and one layer's twice: it grows by being copied.

    A layer with a window cuts its keys and values to it, but what is cut is a view: the whole prompt stays until the
    first token of the answer has been computed (DynamicSlidingWindowLayer of transformers).
    """
    total = settings.prompt_tokens + settings.new_tokens
    sliding = max(settings.prompt_tokens, min(total, facts.sliding_window or total))
    kept = [layer.elements_per_token * (sliding if layer.is_sliding else total) for layer in facts.layers]
    return settings.rows * size * (sum(kept) + max(kept, default=0))


def _activation_bytes(facts: ModelFacts, settings: TransformersSettings, size: int) -> int:
    """Return the most that is alive while the prompts are evaluated.

    In the feed-forward block: gate, up and their product, beside the residual, its norm and what comes out. In
    attention: queries, keys and values repeated for every query head, and what comes out. Beside them the mask, a
    number for each pair of tokens of a row. bitsandbytes on the CPU multiplies int8 in 32 bits: of up there are the
    product, its scales and two steps of scaling it beside gate, and the input in 8 bits. For nf4 it makes one matrix
    anew. For a layer of SmolLM2 torch's profiler counts what these formulas say to 10 %.
    """
    rows = settings.rows
    if not any(layer.is_sliding for layer in facts.layers):  # then prompts are evaluated some at a time
        rows = min(rows, max(1, MOST_TOKENS // settings.prompt_tokens))
    tokens = rows * settings.prompt_tokens
    feed_forward = 3 * facts.ffn_size * size
    if settings.bits == "int8" and not settings.is_on_device:
        feed_forward = facts.ffn_size * (size + _INT8_PRODUCTS * 4) + facts.hidden_size
    feed_forward += 3 * facts.hidden_size * size
    widest = max((facts.heads * (layer.k_dim + layer.v_dim) for layer in facts.layers), default=0)
    attention = (2 * widest + 3 * facts.hidden_size) * size
    mask = rows * settings.prompt_tokens**2 * _mask_bytes(facts, settings, size)
    matrix = 0
    if settings.bits == "nf4":
        matrix = size * max((one.n_elements for one in facts.tensors if is_held_in_bits(one)), default=0)
        matrix = max(
            0, matrix - tokens * facts.ffn_size * size
        )  # it is gone before the third wide tensor is there
    alive = tokens * max(feed_forward, attention) + mask + matrix
    return alive if settings.is_on_device or settings.bits else alive * _HOST_ALLOCATOR


def _mask_bytes(facts: ModelFacts, settings: TransformersSettings, size: int) -> int:
    """Return what the masks of a batch take for each pair of tokens of a row.

    A byte for each kind of layer, and on the processor a number beside them in every layer, which attention adds. A
    row alone has none: no token of it is padding, and attention itself knows what comes later (sdpa's ``is_causal``).
    Where the prompt is as long as a window, layers with one have a mask even so.
    """
    has_window = any(layer.is_sliding for layer in facts.layers)
    is_cut = has_window and settings.prompt_tokens >= (facts.sliding_window or 0)
    n_masks = is_cut + (settings.rows > 1) * (1 + (has_window and not is_cut))
    return n_masks + size if n_masks else 0
