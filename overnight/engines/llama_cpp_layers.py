"""Which layers of a model llama.cpp is to put onto the GPU.

Its own "offloaded 20/33 layers to GPU" is the number that it was asked for, counted against the layers of the file and
not measured, so that the two numbers are known before anything is loaded. Where a GPU is short of memory for them, the
load fails; `GGML_CUDA_ENABLE_UNIFIED_MEMORY`, with which it would spill over without a word, is taken out.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overnight.engines.placement import Placement, layers_asked, require_usable_gpu
from overnight.memory.facts import read_facts
from overnight.memory.layers import most_layers, n_layers
from overnight.memory.llama_cpp_estimate import LlamaCppSettings

_SPILLS = "GGML_CUDA_ENABLE_UNIFIED_MEMORY"
_INSTALL = (
    "install one that can: pip install xllamacpp --force-reinstall --no-deps --index-url "
    "https://xorbitsai.github.io/xllamacpp/whl/cu128 (NVIDIA; rocm-7.2.4 or vulkan in its place for others)"
)


def place(
    settings: Mapping[str, Any], *, library: str, gpus: Sequence[tuple[str, int]], kv_type: str
) -> Placement:
    """Return where the model of some settings is to lie.

    Args:
        settings: of the host.
        library: and its version.
        gpus: that it can use: name, and free bytes.
        kv_type: of keys and values.

    Raises:
        GpuUnusable: it cannot use the GPU that was asked for, or that there is.
    """
    wanted, may_offload = int(settings["gpu_layers"]), bool(settings.get("may_offload"))
    if wanted == 0:
        return Placement()
    require_usable_gpu(
        engine=library,
        seen=[name for name, _ in gpus],
        there=settings["gpus_there"],
        asked=layers_asked(wanted),
        is_refused=not may_offload,
        install=_INSTALL,
    )
    if not gpus:
        return Placement()
    facts = read_facts(Path(settings["model_path"]))
    layers = n_layers(facts)
    if may_offload and wanted < 0:
        how = LlamaCppSettings(
            slots=settings["slots"], context_tokens=settings["context_tokens"], kv_type=kv_type
        )
        wanted = most_layers(facts, how, sum(n_bytes for _, n_bytes in gpus), settings["memory_margin"])
    else:
        os.environ.pop(_SPILLS, None)
    on_gpu = layers if wanted < 0 else min(wanted, layers)
    if not on_gpu:
        return Placement()
    return Placement(devices=tuple(name for name, _ in gpus), gpu_layers=on_gpu, layers=layers)
