"""Where a loaded model lies: all of it on the GPU, or not."""

import platform
from collections.abc import Sequence

from ollama import ProcessResponse

from overnight.engines.ollama.server import is_here
from overnight.errors import OutOfMemory
from overnight.spec.prompt_sweep import EngineSettings
from overnight.telemetry.environment import gpus


def require_gpu(
    loaded: ProcessResponse.Model,
    all_loaded: Sequence[ProcessResponse.Model],
    host: str,
    settings: EngineSettings,
) -> None:
    """Refuse a model of which Ollama has silently left a part to the processor.

    ``/api/ps`` gives the bytes of a model and those of them on the GPU: equal, all of it is there. None of them on a
    server without a GPU is no offload. That it has one, ``/api/ps`` does not say; it is taken for granted where
    another model lies on one, and where the server is here and a GPU is, too.

    Raises:
        OutOfMemory: a part, or all of it, lies outside the GPU, and nobody said that this is wanted.
    """
    size, on_gpu = int(loaded.size or 0), int(loaded.size_vram or 0)
    if settings.ollama.allow_cpu_offload or settings.gpu_layers != -1 or on_gpu >= size:
        return
    if on_gpu == 0 and not (any(each.size_vram for each in all_loaded) or (is_here(host) and _has_gpu())):
        return
    raise OutOfMemory(
        f"{loaded.model}: only {on_gpu / 2**30:.1f} of {size / 2**30:.1f} GiB fit onto the GPU, the rest would run "
        "many times slower on the processor; free memory there, take a smaller model or context, or set "
        "execution.engine.ollama.allow_cpu_offload"
    )


def _has_gpu() -> bool:
    return bool(gpus()) or (platform.system() == "Darwin" and platform.machine() == "arm64")
