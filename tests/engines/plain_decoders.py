"""Small decoders with random weights, and what is inside a block of each: worked out with its own weights, by hand.

Nothing here is ours but the names: states come from transformers' ``output_hidden_states`` and ``output_attentions``,
everything else from a module's weights and the definition of its layer.
"""

from dataclasses import dataclass
from operator import attrgetter

import torch
import transformers
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

N_LAYERS, HEADS, WIDTH, INNER, VOCABULARY = 3, 4, 32, 48, 64
_OWN = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GEMMA = _OWN | {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 5}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": N_LAYERS, "n_head": HEADS, "n_positions": 64}
_GPT2 |= {"bos_token_id": 1, "eos_token_id": 2}


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where the modules of a family are; names from a block, but for the first two."""

    config: str
    fields: dict
    blocks: str = "model.layers"
    final_norm: str = "model.norm"
    attention: str = "self_attn"
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    out: str = "self_attn.o_proj"
    activation: str = "mlp.act_fn"
    gate_up: tuple[str, ...] = ("mlp.gate_proj", "mlp.up_proj")
    down: str = "mlp.down_proj"
    first_norm: str = "input_layernorm"
    mlp_norm: str | None = "post_attention_layernorm"  # None: the MLP reads what attention reads
    norm_of_attention: str | None = None
    norm_of_mlp: str | None = None
    has_gate: bool = True

    def model(self, attention: str | None = None):
        """Return it with random weights; its norms do something, and its blocks add about what they read."""
        torch.manual_seed(11)
        config = getattr(transformers, self.config)(**self.fields)
        more = {"attn_implementation": attention} if attention else {}
        model = transformers.AutoModelForCausalLM.from_config(config, **more).eval()
        for weights in model.parameters():
            weights.data += torch.randn_like(weights) * (0.2 if weights.dim() > 1 else 0.1)
        return model


_SANDWICH = {
    "mlp_norm": "pre_feedforward_layernorm",
    "norm_of_attention": "post_attention_layernorm",
    "norm_of_mlp": "post_feedforward_layernorm",
}
FAMILIES = {
    "llama": Family(config="LlamaConfig", fields=_OWN),
    "gemma2": Family(config="Gemma2Config", fields=_GEMMA, **_SANDWICH),
    "gemma3": Family(config="Gemma3TextConfig", fields=_GEMMA, **_SANDWICH),
    "qwen2": Family(config="Qwen2Config", fields=_OWN),
    "mistral": Family(config="MistralConfig", fields=_OWN | {"sliding_window": 5}),
    "gpt2": Family(
        config="GPT2Config",
        fields=_GPT2,
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        attention="attn",
        qkv=("attn.c_attn",),
        out="attn.c_proj",
        activation="mlp.act",
        gate_up=("mlp.c_fc",),
        down="mlp.c_proj",
        first_norm="ln_1",
        mlp_norm="ln_2",
        has_gate=False,
    ),
    "phi": Family(
        config="PhiConfig",
        fields=_OWN,
        final_norm="model.final_layernorm",
        out="self_attn.dense",
        activation="mlp.activation_fn",
        gate_up=("mlp.fc1",),
        down="mlp.fc2",
        mlp_norm=None,
        has_gate=False,
    ),
    "phi3": Family(
        config="Phi3Config",
        fields=_OWN,
        qkv=("self_attn.qkv_proj",),
        activation="mlp.activation_fn",
        gate_up=("mlp.gate_up_proj",),
    ),
}


def hidden_states(family: Family, model, ids: list[int]) -> list[Tensor]:
    """Return ``[tokens, width]`` of each state between blocks: the last one before the final norm."""
    last = []
    hook = attrgetter(family.final_norm)(model).register_forward_pre_hook(
        lambda _, args: last.append(args[0])
    )
    with torch.inference_mode():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    hook.remove()
    return [state[0] for state in (*states[:-1], last[0])]


def block_states(family: Family, model, ids: list[int], layer: int) -> dict[str, Tensor]:
    """Return ``[tokens, any]`` of all that is inside a block, of one sequence alone; attention has to be eager."""
    block = attrgetter(family.blocks)(model)[layer]

    def part(name: str | None) -> nn.Module:
        return attrgetter(name)(block) if name else nn.Identity()

    with torch.inference_mode():
        weights = model(torch.tensor([ids]), output_attentions=True).attentions[layer][0]
        enters = hidden_states(family, model, ids)[layer]
        read = part(family.first_norm)(enters)
        projected = torch.cat([_times(part(name), read) for name in family.qkv], dim=-1)
        side_by_side = part(family.out).weight.shape[0 if isinstance(part(family.out), Conv1D) else 1]
        n_keys = (projected.shape[-1] - side_by_side) // 2
        q, k, v = projected.split([side_by_side, n_keys, n_keys], dim=-1)
        heads = v.unflatten(-1, (-1, side_by_side // HEADS)).transpose(0, 1)
        mixed = weights @ heads.repeat_interleave(HEADS // heads.shape[0], dim=0)
        mixed = mixed.transpose(0, 1).flatten(1)
        attention = _times(part(family.out), mixed)
        added = part(family.norm_of_attention)(attention)
        middle = enters + added
        mlp_reads = part(family.mlp_norm)(middle) if family.mlp_norm else read
        inner = torch.cat([_times(part(name), mlp_reads) for name in family.gate_up], dim=-1)
        gate, up = inner.chunk(2, dim=-1) if family.has_gate else (None, inner)
        gated = part(family.activation)(up) if gate is None else part(family.activation)(gate) * up
        mlp = _times(part(family.down), gated)
        mlp_added = part(family.norm_of_mlp)(mlp)
    found = {
        "residual_in": enters,
        "q": q,
        "k": k,
        "v": v,
        "o_proj_input": mixed,
        "attn_out": attention,
        "attn_contribution": added,
        "residual_mid": middle,
        "gate": gate,
        "up": up,
        "gated": gated,
        "mlp_out": mlp,
        "mlp_contribution": mlp_added,
        "residual_out": middle + mlp_added,
    }
    return {name: state for name, state in found.items() if state is not None}


def attention_weights(model, ids: list[int]) -> list[Tensor]:
    """Return ``[heads, tokens, tokens]`` of each layer, of one sequence alone; attention has to be eager."""
    with torch.inference_mode():
        return [weights[0] for weights in model(torch.tensor([ids]), output_attentions=True).attentions]


def _times(module: nn.Module, states: Tensor) -> Tensor:
    matrix = module.weight if isinstance(module, Conv1D) else module.weight.T
    return states @ matrix + (0 if module.bias is None else module.bias)
