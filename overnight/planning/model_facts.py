"""What an analysis is told of a model: facts from its file in ``config/models/``, none read off a name."""

import re

from overnight.errors import UsageError
from overnight.spec.model import ModelSpec
from overnight.stats.model_cells import ModelFacts

_PLAIN = {"fp32": 32.0, "f32": 32.0, "fp16": 16.0, "f16": 16.0, "bf16": 16.0}
_OF_DTYPE = {"float32": 32.0, "float16": 16.0, "bfloat16": 16.0}
# Bits of a block with its scales, over its weights: ggml's block sizes; nf4 with a float32 scale for 64 weights. Files
# that mix types (Q4_K_M) have a little more than the type that they are named for.
_PACKED = {
    "int8": 8.0,
    "nf4": 4.5,
    "q2_k": 2.625,
    "q3_k": 3.4375,
    "q4_0": 4.5,
    "q4_1": 5.0,
    "q4_k": 4.5,
    "q5_0": 5.5,
    "q5_1": 6.0,
    "q5_k": 5.5,
    "q6_k": 6.5625,
    "q8_0": 8.5,
}
_TYPE = re.compile(r"i?q\d_[0-9k]")


def model_facts(model: ModelSpec) -> ModelFacts:
    """Return the facts of a model.

    Raises:
        UsageError: it does not say whether it was tuned to follow instructions, or how many bits a weight has.
    """
    if model.instruct is None:
        raise UsageError(
            f"model {model.name}: instruct: missing; say true for a model that was tuned to follow instructions, false "
            "for a base model"
        )
    label = model.quantization.lower()
    is_plain = label == "none" or label in _PLAIN
    return ModelFacts(
        name=model.name,
        family=model.family,
        parameters=model.params_billion * 1e9,
        is_instruct=model.instruct,
        quantization="none" if is_plain else model.quantization,
        bits_per_weight=_bits(model, label),
    )


def _bits(model: ModelSpec, label: str) -> float:
    if model.bits_per_weight is not None:
        return model.bits_per_weight
    found = _PLAIN.get(label) or _PACKED.get(label)
    if found is None and label == "none" and model.dtype is not None:
        found = _OF_DTYPE[model.dtype]
    if found is None and (kind := _TYPE.match(label)):
        found = _PACKED.get(kind[0])
    if found is None:
        raise UsageError(
            f"model {model.name}: bits_per_weight: missing, and not known of quantization {model.quantization}; write "
            "how many bits a weight takes"
        )
    return found
