"""Points of a decoder: what is looked at, and in which block."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import total_ordering
from typing import Final, Self

from overnight.errors import UsageError


class Component(StrEnum):
    """A state of one decoder block, of one token; in the order in which a block computes them.

    The residual stream is what blocks read from and add to. Attention adds to it first, then the MLP; where both read
    the same input (parallel blocks, such as Phi's), ``residual_mid`` is the same sum, though nothing reads it.
    """

    RESIDUAL_IN = "residual_in"  # what enters the block
    Q = "q"  # outputs of the projections, before rotary positions and the norms of queries and keys
    K = "k"
    V = "v"
    O_PROJ_INPUT = "o_proj_input"  # what the heads read, side by side
    ATTN_OUT = "attn_out"  # of the module, before a norm of its output (Gemma-2 has one)
    ATTN_CONTRIBUTION = "attn_contribution"  # what is added to the residual stream
    RESIDUAL_MID = "residual_mid"  # residual_in + attn_contribution
    GATE = "gate"  # before the activation function
    UP = "up"
    GATED = "gated"  # what enters the last projection of the MLP
    MLP_OUT = "mlp_out"  # of the module, before a norm of its output
    MLP_CONTRIBUTION = "mlp_contribution"  # what is added to the residual stream
    RESIDUAL_OUT = "residual_out"  # what leaves the block: residual_mid + mlp_contribution


_ORDER: Final = {component: place for place, component in enumerate(Component)}


@total_ordering
@dataclass(frozen=True, slots=True)
class Point:
    """A component of a block.

    Block ``l`` is the l-th of L, from 0, everywhere: ``residual_in`` of block l + 1 is ``residual_out`` of block l, and
    ``residual_out`` of block l is ``hidden_states[l + 1]`` of transformers but for the last block, whose output
    transformers gives after the final norm.
    """

    layer: int
    component: Component

    def __lt__(self, other: "Point") -> bool:
        return self._place < other._place

    @property
    def label(self) -> str:
        """What it is called in files and settings: ``12.residual_out``."""
        return f"{self.layer}.{self.component.value}"

    @property
    def _place(self) -> tuple[int, int]:
        return self.layer, _ORDER[self.component]

    @classmethod
    def parse(cls, label: str) -> Self:
        """Return the point that a label names.

        Raises:
            UsageError: it names none.
        """
        layer, _, component = label.partition(".")
        if not (layer.isascii() and layer.isdigit()):
            raise UsageError(
                f"point {label!r}: found no layer; wanted a layer and a component, such as 12.residual_out"
            )
        try:
            return cls(int(layer), Component(component))
        except ValueError:
            raise UsageError(
                f"point {label!r}: no component {component!r}; there are {', '.join(Component)}"
            ) from None


SUBLAYERS: Final = (Component.RESIDUAL_IN, Component.RESIDUAL_MID, Component.RESIDUAL_OUT)


def labels(points: Iterable[Point]) -> list[str]:
    """Return what points are called."""
    return [point.label for point in points]


def every_sublayer(n_layers: int) -> tuple[Point, ...]:
    """Return the three states of the residual stream of each of ``n_layers`` blocks, in their order."""
    return tuple(Point(layer, component) for layer in range(n_layers) for component in SUBLAYERS)
