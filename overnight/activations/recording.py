"""Looking at the states of a model while it computes them; nothing is kept, and no hook stays behind."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from operator import attrgetter
from typing import Any

from torch import Tensor, nn

from overnight.activations.architecture import Architecture, given_tensor, read_tensor
from overnight.activations.blocks import Block, Tap
from overnight.activations.points import Component, Point
from overnight.errors import UsageError

Sink = Callable[[Point, Tensor], None]
"""Told of each state ``[sequences, tokens, width]`` as it is computed; whatever it keeps it has to copy."""
AttentionSink = Callable[[int, Tensor], None]
"""Told of the weights ``[sequences, heads, tokens, tokens]`` of each layer, likewise."""


@contextmanager
def recording(architecture: Architecture, points: Sequence[Point], sink: Sink) -> Iterator[None]:
    """Tell of the states at some points, of every pass inside this block.

    Raises:
        UsageError: there is no such point.
    """
    for point in points:
        architecture.width(point)
    with ExitStack() as hooks:
        for layer, group in groupby(sorted(points), key=attrgetter("layer")):
            wanted = [point.component for point in group]
            _listen_to_block(architecture.blocks[layer], layer, wanted, sink, hooks)
        yield


@contextmanager
def recording_attention(
    architecture: Architecture, layers: Sequence[int], sink: AttentionSink
) -> Iterator[None]:
    """Tell of the weights of attention in some layers, of every pass inside this block.

    Attention has to be computed in the way that has weights (``eager``).

    Raises:
        UsageError: a layer has no attention, or does not give its weights.
    """

    def hear(layer: int) -> Callable[..., None]:
        def note(_: nn.Module, __: Any, output: Any) -> None:
            weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            if weights is None:
                raise UsageError(
                    f"{architecture.name}: block {layer} does not give the weights of its attention"
                )
            sink(layer, weights)

        return note

    with ExitStack() as hooks:
        for layer in layers:
            attention = architecture.blocks[layer].attention
            if attention is None:
                raise UsageError(f"{architecture.name}: block {layer} has no attention")
            hooks.callback(attention.register_forward_hook(hear(layer)).remove)
        yield


def _listen_to_block(
    block: Block, layer: int, wanted: Sequence[Component], sink: Sink, hooks: ExitStack
) -> None:
    for component in wanted:
        if component is not Component.RESIDUAL_MID:
            _listen(block.taps[component], _teller(Point(layer, component), sink), hooks)
    if Component.RESIDUAL_MID in wanted:
        entered: list[Tensor] = []  # what the block adds to

        def add(contribution: Tensor) -> None:
            sink(Point(layer, Component.RESIDUAL_MID), entered.pop() + contribution)

        hooks.callback(entered.clear)  # a pass that failed half way
        _listen(block.taps[Component.RESIDUAL_IN], entered.append, hooks)
        _listen(block.taps[Component.ATTN_CONTRIBUTION], add, hooks)


def _teller(point: Point, sink: Sink) -> Callable[[Tensor], None]:
    return lambda tensor: sink(point, tensor)


def _listen(tap: Tap, tell: Callable[[Tensor], None], hooks: ExitStack) -> None:
    """Tell of each tensor that passes by a tap."""

    def show(tensor: Tensor | None) -> None:
        assert tensor is not None  # noqa: S101 - it was one when the model was looked at
        if tensor.shape[-1] != tap.width:
            tensor = tensor[..., tap.start : tap.start + tap.width]
        tell(tensor if tap.scale == 1 else tensor * tap.scale)

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        show(read_tensor(args, kwargs))

    def after(_: nn.Module, __: Any, output: Any) -> None:
        show(given_tensor(output))

    if tap.side == "input":
        hook = tap.module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        hook = tap.module.register_forward_hook(after)
    hooks.callback(hook.remove)
