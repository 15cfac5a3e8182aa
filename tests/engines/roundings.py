"""What llama.cpp rounds, done inside transformers: where tolerances come from, without llama.cpp."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_BLOCK = 32  # values that share a scale, ggml's QK8_0 and QK8_1


def log_probabilities(model: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Return those of an answer's tokens after a prompt, ``[tokens]``, in nats."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *answer[:-1]]])).logits[0, -len(answer) :]
    return logits.double().log_softmax(dim=-1)[range(len(answer)), answer]


def log_odds(logprobs: torch.Tensor) -> torch.Tensor:
    """Return log(p / (1 - p)) of each log-probability."""
    return logprobs - torch.log(-torch.expm1(logprobs))


@contextmanager
def attention_in_bfloat16(model: Any) -> Iterator[None]:
    """Round queries, keys and values, as llama.cpp's attention does where keys and values are kept in bfloat16."""
    plain = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def rounded(module: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> Any:
        return plain(module, *(each.bfloat16().float() for each in (query, key, value)), *rest, **named)

    ALL_ATTENTION_FUNCTIONS.register("rounded", rounded)
    model.set_attn_implementation("rounded")
    yield
    model.set_attn_implementation("sdpa")


@contextmanager
def activations_in_8_bits(model: Any) -> Iterator[None]:
    """Round what is multiplied with weights, as llama.cpp does before quantised ones (ggml's quantize_row_q8_0)."""
    hooks = [
        module.register_forward_pre_hook(lambda _, given: (_in_8_bits(given[0]), *given[1:]))
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    yield
    for hook in hooks:
        hook.remove()


def _in_8_bits(values: torch.Tensor) -> torch.Tensor:
    blocks = values.reshape(-1, _BLOCK)
    scale = blocks.abs().amax(dim=-1, keepdim=True) / 127
    inverse = torch.where(scale > 0, 1 / scale, 0)
    return (torch.round(blocks * inverse) * scale.half().float()).reshape(values.shape)
