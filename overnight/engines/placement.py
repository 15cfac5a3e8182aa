"""Where a model is to lie, and where it lies: wholly on the GPU, or said to be elsewhere; pure.

A layer on the processor computes ten times slower or worse, and no engine complains of it by itself: llama.cpp puts all
of a model there where its build has no GPU backend, Ollama whatever does not fit. What is refused here is what nobody
asked for; a machine without a GPU offloads nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from overnight.errors import GpuUnusable, OutOfMemory

_GIB = 2**30
NO_GPU = "no GPU: models run on the processor"
HOW_TO_ALLOW = "execution.engine.cpu_offload: allow"
_SETTING = "execution.engine.gpu_layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a loaded model lies; counts are None where the engine does not say them."""

    devices: tuple[str, ...] = ()  # the GPUs, by name; none is the processor
    gpu_layers: int | None = None  # blocks on a GPU; the output counts as one
    layers: int | None = None  # of these there are
    gpu_bytes: int | None = None
    n_bytes: int | None = None  # of the whole model

    @property
    def is_split(self) -> bool:
        """True where a part lies on a GPU and a part does not."""
        return bool(self.devices) and not self.is_whole_on_gpu

    @property
    def is_whole_on_gpu(self) -> bool:
        """True where nothing of it lies on the processor."""
        return (
            bool(self.devices)
            and (self.gpu_layers or 0) >= (self.layers or 0)
            and (self.gpu_bytes or 0) >= (self.n_bytes or 0)
        )

    @property
    def label(self) -> str:
        """Where it lies, in a few words."""
        if not self.devices:
            return "on the processor"
        where = f"on {', '.join(self.devices)}"
        if not self.is_split:
            return where
        if self.layers is not None:
            return f"{where}: {self.gpu_layers} of {self.layers} layers, the rest on the processor"
        return f"{where}: {_gib(self.gpu_bytes)} of {_gib(self.n_bytes)} GiB, the rest on the processor"

    def as_row(self) -> dict[str, Any]:
        """Return it for a JSON file."""
        return {**asdict(self), "devices": list(self.devices)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return what ``as_row`` wrote."""
        return cls(**{**row, "devices": tuple(row["devices"])})


def require_usable_gpu(
    *,
    engine: str,
    seen: Sequence[str],
    there: Sequence[str],
    asked: str | None,
    is_refused: bool,
    install: str,
) -> None:
    """Refuse to compute on the processor where a GPU was asked for, or where one is there and idle.

    Args:
        engine: its library and version.
        seen: GPUs that the library can use.
        there: GPUs that this machine has and this process may use.
        asked: the setting by which somebody asked for a GPU; None where nobody did.
        is_refused: nobody allowed the processor in a GPU's place.
        install: what makes the library see it.

    Raises:
        GpuUnusable: it is so.
    """
    if seen or not (asked or (there and is_refused)):
        return
    if there:
        way_out = f"take out {asked} and set" if asked else "set"
        raise GpuUnusable(
            f"there is a GPU ({', '.join(there)}), and {engine} is a build that cannot use it, so the model would run "
            f"on the processor; {install}; or {way_out} {HOW_TO_ALLOW}"
        )
    raise GpuUnusable(
        f"{asked} asks for a GPU, and {engine} finds none, nor does the driver; take it out to run on the processor, "
        "or see what `overnight doctor` says of the GPU"
    )


def require_whole(what: str, gpu_bytes: int, n_bytes: int) -> None:
    """Refuse a model of which a part lies outside of the GPU.

    Raises:
        OutOfMemory: with how much that is.
    """
    if gpu_bytes >= n_bytes:
        return
    raise OutOfMemory(
        f"{what}: {_gib(n_bytes - gpu_bytes)} of {_gib(n_bytes)} GiB do not fit onto the GPU and would run many times "
        f"slower on the processor; free memory there, take a smaller model or context, or set {HOW_TO_ALLOW}"
    )


def layers_asked(gpu_layers: int) -> str | None:
    """Return the setting, where it asks for a GPU: all layers are the default, and none are no wish for one."""
    return f"{_SETTING}: {gpu_layers}" if gpu_layers > 0 else None


def _gib(n_bytes: int | None) -> str:
    return f"{(n_bytes or 0) / _GIB:.1f}"
