"""The blocks of any decoder-only model of transformers: found in its tree of modules, read on a few tokens."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from overnight.activations.blocks import Call, read_block
from overnight.activations.passing import Pass
from overnight.activations.points import Component, Point
from overnight.errors import UsageError

_TRACED_TOKENS = range(4)


class Architecture:
    """Where a model computes what.

    Args:
        model: a causal language model of transformers, on its device, ready for inference; four tokens pass it.

    Raises:
        UsageError: it is no decoder of blocks one after another.
    """

    def __init__(self, model: Any) -> None:
        self.name = type(model).__name__
        modules = _blocks(model)
        traces = _traced(model, modules)
        self.blocks = tuple(read_block(module, calls) for module, calls in zip(modules, traces, strict=True))

    def points_of(self, layer: int) -> tuple[Point, ...]:
        """Return every point that a block has.

        Raises:
            UsageError: there is no such block.
        """
        self.width(Point(layer, Component.RESIDUAL_IN))
        return tuple(Point(layer, component) for component in self.blocks[layer].components)

    def width(self, point: Point) -> int:
        """Return how many numbers a token has at a point.

        Raises:
            UsageError: there is no such point.
        """
        if point.layer >= len(self.blocks):
            raise UsageError(
                f"point {point.label}: {self.name} has {len(self.blocks)} blocks, and the last one is "
                f"{len(self.blocks) - 1}"
            )
        block = self.blocks[point.layer]
        if point.component not in block.components:
            raise UsageError(
                f"point {point.label}: {self.name} has no {point.component} that can be told from the rest of its "
                f"block; it has {', '.join(block.components)}"
            )
        is_sum = point.component is Component.RESIDUAL_MID
        return block.taps[Component.RESIDUAL_IN if is_sum else point.component].width


def given_tensor(value: Any) -> Tensor | None:
    """Return the tensor that a module gave, or the first of several."""
    if isinstance(value, tuple | list):
        return given_tensor(value[0]) if value else None
    return value if isinstance(value, Tensor) else None


def read_tensor(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return the tensor that a module reads."""
    return given_tensor(args or kwargs.get("hidden_states"))


def _blocks(model: Any) -> list[nn.Module]:
    """Return the decoder blocks of a model, in their order."""
    n_layers = model.config.get_text_config(decoder=True).num_hidden_layers
    for module in model.get_decoder().modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return list(module)
    raise UsageError(f"{type(model).__name__}: found no list of {n_layers} decoder blocks in it")


def _traced(model: Any, blocks: Sequence[nn.Module]) -> list[list[Call]]:
    """Return what the modules of each block compute of a few tokens, in the order in which they are done."""
    traces: list[list[Call]] = [[] for _ in blocks]

    def listen(module: nn.Module, calls: list[Call]) -> Any:
        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            read, gave = read_tensor(args, kwargs), given_tensor(output)
            if read is not None and gave is not None:
                calls.append(Call(module, read, gave, read.clone(), gave.clone()))

        return module.register_forward_hook(note, with_kwargs=True)

    with ExitStack() as hooks:
        for block, calls in zip(blocks, traces, strict=True):
            for module in block.modules():
                hooks.callback(listen(module, calls).remove)
        Pass(model)([_TRACED_TOKENS], until=blocks[-1])
    for block, calls in zip(blocks, traces, strict=True):
        if not calls or calls[-1].module is not block:
            raise UsageError(f"{type(model).__name__}: its blocks are not computed one after another")
    return traces
