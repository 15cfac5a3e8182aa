"""Where a loaded model lies: all of it on the GPU, or not."""

import platform
from collections.abc import Sequence

from ollama import ProcessResponse

from overnight.engines.ollama.server import is_here
from overnight.engines.placement import Placement, layers_asked, require_whole
from overnight.errors import GpuUnusable
from overnight.spec.execution import EngineSettings
from overnight.telemetry.environment import gpus


def placement_of(loaded: ProcessResponse.Model) -> Placement:
    """Return where Ollama has put a model: ``/api/ps`` gives its bytes, and those of them on the GPU."""
    size, on_gpu = int(loaded.size or 0), int(loaded.size_vram or 0)
    return Placement(devices=("the server's GPU",) if on_gpu else (), gpu_bytes=on_gpu, n_bytes=size)


def require_gpu(
    loaded: ProcessResponse.Model,
    all_loaded: Sequence[ProcessResponse.Model],
    host: str,
    settings: EngineSettings,
) -> None:
    """Refuse a model of which Ollama has silently left a part to the processor.

    None of it on the GPU of a server without one is no offload. That it has one, ``/api/ps`` does not say; it is taken
    for granted where another model lies on one, and where the server is here and a GPU is, too.

    Raises:
        OutOfMemory: a part, or all of it, lies outside the GPU, and nobody said that this is wanted.
        GpuUnusable: somebody asked for layers on a GPU, and none is there.
    """
    found = placement_of(loaded)
    if settings.cpu_offload == "allow":
        return
    asked = layers_asked(settings.gpu_layers)
    if asked and not found.devices:
        raise GpuUnusable(
            f"{loaded.model}: {asked} asks for a GPU, and Ollama has put nothing onto one; take it out to run on the "
            "processor, or see what Ollama's own log says of the GPU"
        )
    has_gpu = found.devices or any(each.size_vram for each in all_loaded) or (is_here(host) and _has_gpu())
    if settings.gpu_layers == -1 and has_gpu:
        require_whole(str(loaded.model), found.gpu_bytes or 0, found.n_bytes or 0)


def _has_gpu() -> bool:
    return bool(gpus()) or (platform.system() == "Darwin" and platform.machine() == "arm64")
