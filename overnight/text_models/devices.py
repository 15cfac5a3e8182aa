"""Where a text-pair model is computed."""

from collections.abc import Sequence

import torch

from overnight.errors import GpuUnusable


def choose_device(name: str | None, gpus_there: Sequence[str]) -> torch.device:
    """Return the device that was named, or the best that there is.

    Args:
        name: ``cuda``, ``mps`` or ``cpu``; None for the best.
        gpus_there: that this machine has, whatever torch can use of them.

    Raises:
        GpuUnusable: torch cannot use the one that was named; or none was, and there is a GPU that it cannot use.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name is not None and not has.get(name, True):
        raise GpuUnusable(
            f"device: {name} is not there for torch {torch.__version__}; say cpu or leave it out"
        )
    best = next((kind for kind, is_there in has.items() if is_there), "cpu")
    if name is None and best == "cpu" and gpus_there:
        raise GpuUnusable(
            f"there is a GPU ({', '.join(gpus_there)}), and torch {torch.__version__} is a build that cannot use it; "
            "see https://pytorch.org/get-started/locally, or say device: cpu for this text model"
        )
    chosen = name or best
    return torch.device(chosen, 0) if chosen == "cuda" else torch.device(chosen)
