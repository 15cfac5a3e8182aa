"""What one decoder block has, and where: by the names of its modules, and by what each read of the others.

Names alone would mislead: ``post_attention_layernorm`` is a norm of what attention adds in Gemma-2, and the norm before
the MLP in Llama. What is added to the residual stream is therefore found by which module reads whose output, and
believed only where the parts add up to what leaves the block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from overnight.activations.points import Component

_ATTENTION = ("attn", "attention")
_MLP = ("mlp", "ffn", "feed_forward", "feedforward", "moe")
_SEPARATE = {
    Component.Q: ("q_proj", "query", "wq"),
    Component.K: ("k_proj", "key", "wk"),
    Component.V: ("v_proj", "value", "wv"),
    Component.GATE: ("gate_proj",),
    Component.UP: ("up_proj",),
}
# Queries, keys and values one behind the other, as in Phi-3, MPT and GPT-2. Other fused projections mix the heads.
_QKV = ("qkv_proj", "Wqkv")
_QKV_CONV = "c_attn"
_GATE_UP = "gate_up_proj"  # one behind the other, as in Phi-3
_UNEXPLAINED = 1e-3  # of what a block adds; more is no rounding


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What one module computed of a few tokens."""

    module: nn.Module
    read: Tensor
    gave: Tensor
    entered: Tensor  # what these were at that time; Falcon adds to the tensor that its MLP gave
    left: Tensor


@dataclass(frozen=True, slots=True)
class Tap:
    """Where a tensor passes by."""

    module: nn.Module
    side: Literal["input", "output"]
    width: int
    start: int = 0  # its first column, where several tensors pass side by side
    scale: float = 1.0  # that the block multiplies it by before it adds it


@dataclass(frozen=True, slots=True)
class Block:
    """One decoder block."""

    module: nn.Module
    attention: nn.Module | None
    taps: Mapping[Component, Tap]  # of what it has; `RESIDUAL_MID` is a sum and has none

    @property
    def components(self) -> list[Component]:
        """What it has, in the order in which it computes it."""
        has_mid = Component.ATTN_CONTRIBUTION in self.taps
        return [
            each for each in Component if each in self.taps or (each is Component.RESIDUAL_MID and has_mid)
        ]


def read_block(module: nn.Module, calls: Sequence[Call]) -> Block:
    """Return what a block has.

    Args:
        module: the block.
        calls: of it and of its modules, in the order in which they were done; its own is the last.
    """
    whole = calls[-1]
    taps = {Component.RESIDUAL_IN: _input(whole), Component.RESIDUAL_OUT: _output(whole)}
    attention = _part(module, _ATTENTION, calls)
    mlp = _part(module, _MLP, calls)
    if attention:
        taps |= {Component.ATTN_OUT: _output(attention)} | _attention_taps(attention, calls)
    if mlp:
        taps |= {Component.MLP_OUT: _output(mlp)} | _mlp_taps(mlp, calls)
    if attention and mlp:
        scale = float(getattr(module, "residual_multiplier", 1.0))  # Granite has one
        by_attention, by_mlp = (_added(module, each, calls) for each in (attention, mlp))
        if _adds_up(whole, by_attention.left * scale, by_mlp.left * scale):
            taps[Component.ATTN_CONTRIBUTION] = _output(by_attention, scale)
            taps[Component.MLP_CONTRIBUTION] = _output(by_mlp, scale)
    return Block(module, attention.module if attention else None, taps)


def _attention_taps(attention: Call, calls: Sequence[Call]) -> dict[Component, Tap]:
    before, last = _projections(attention, calls)
    taps = _separate(before, (Component.Q, Component.K, Component.V))
    if last is None:
        return taps
    taps[Component.O_PROJ_INPUT] = _input(last)
    if len(before) == 1:
        (name, fused), heads = next(iter(before.items())), last.read.shape[-1]
        rest = fused.gave.shape[-1] - heads
        if (
            name in _QKV or (name == _QKV_CONV and isinstance(fused.module, Conv1D))
        ) and 0 < rest <= 2 * heads:
            taps[Component.Q] = Tap(fused.module, "output", heads)
            taps[Component.K] = Tap(fused.module, "output", rest // 2, start=heads)
            taps[Component.V] = Tap(fused.module, "output", rest // 2, start=heads + rest // 2)
    return taps


def _mlp_taps(mlp: Call, calls: Sequence[Call]) -> dict[Component, Tap]:
    before, last = _projections(mlp, calls)
    if last is None:  # several experts, of which each token takes some
        return {}
    width = last.read.shape[-1]
    taps = {Component.GATED: _input(last)} | _separate(before, (Component.GATE, Component.UP))
    if len(before) == 1:
        ((name, only),) = before.items()
        if name == _GATE_UP and only.gave.shape[-1] == 2 * width:
            taps[Component.GATE] = Tap(only.module, "output", width)
            taps[Component.UP] = Tap(only.module, "output", width, start=width)
        elif only.gave.shape[-1] == width:
            taps[Component.UP] = _output(only)
    return taps


def _separate(projections: Mapping[str, Call], wanted: Sequence[Component]) -> dict[Component, Tap]:
    return {
        component: _output(projections[name])
        for component in wanted
        for name in _SEPARATE[component]
        if name in projections
    }


def _part(block: nn.Module, words: Sequence[str], calls: Sequence[Call]) -> Call | None:
    """Return what attention or the MLP computed: the one child with such a name that has matrices."""
    found = [
        child
        for name, child in block.named_children()
        if any(word in name.lower() for word in words) and _has_weights(child, dimensions=2)
    ]
    done = [call for call in _of_each_token(calls) if len(found) == 1 and call.module is found[0]]
    return done[0] if len(done) == 1 else None


def _projections(part: Call, calls: Sequence[Call]) -> tuple[dict[str, Call], Call | None]:
    """Return the projections of attention or an MLP by name, and apart from them the one whose output it gives."""
    names = {module: name.rpartition(".")[2] for name, module in part.module.named_modules()}
    done = [call for call in _of_each_token(calls) if call.module in names and _is_projection(call.module)]
    last = done[-1] if done and _same(done[-1].gave, part.gave) else None
    return {names[call.module]: call for call in done if call is not last}, last


def _of_each_token(calls: Sequence[Call]) -> list[Call]:
    """Return those of tensors [sequences, tokens, width]: some modules lay all tokens one behind the other."""
    shape = calls[-1].read.shape[:-1]
    return [call for call in calls if call.read.shape[:-1] == call.gave.shape[:-1] == shape]


def _is_projection(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def _added(block: nn.Module, part: Call, calls: Sequence[Call]) -> Call:
    """Return what becomes of the output of attention or the MLP before it is added: it, or a norm of it."""
    # Dropout, which the blocks of some models share, is no part of inference and gives what it reads.
    norms = {
        child
        for child in block.children()
        if _has_weights(child, dimensions=1) and not _has_weights(child, dimensions=2)
    }
    end = part
    for call in calls[calls.index(part) + 1 :]:
        if call.module in norms and _same(call.read, end.gave):
            end = call
    return end


def _adds_up(whole: Call, by_attention: Tensor, by_mlp: Tensor) -> bool:
    """True where what leaves a block is what enters it, what attention adds and what the MLP adds; but for rounding."""
    enters, leaves, attention, mlp = (
        each.double() for each in (whole.read, whole.gave, by_attention, by_mlp)
    )
    rounding = 4 * torch.finfo(whole.left.dtype).eps * (enters.abs() + attention.abs() + mlp.abs())
    unexplained = (leaves - enters - attention - mlp).abs()
    return bool((unexplained <= rounding + _UNEXPLAINED * (leaves - enters).abs().max()).all())


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape


def _has_weights(module: nn.Module, *, dimensions: int) -> bool:
    """True where a module, or one in it, has weights of so many dimensions or more."""
    return any(each.dim() >= dimensions for each in module.parameters())


def _input(call: Call) -> Tap:
    return Tap(call.module, "input", call.read.shape[-1])


def _output(call: Call, scale: float = 1.0) -> Tap:
    return Tap(call.module, "output", call.gave.shape[-1], scale=scale)
