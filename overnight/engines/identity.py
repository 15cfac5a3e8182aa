"""What of an engine can change an answer: the part of a cached answer's key that the request does not hold.

The policy is in docs/decisions/0006. Out of it on purpose: slots, threads, timeouts and the length of the context,
which change when an answer comes and not which one.
"""

import functools
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from overnight.engines.neutral_samplers import NEUTRAL
from overnight.engines.openai.dialects import FACTS
from overnight.engines.transformers.client import SAMPLERS
from overnight.spec.engine_openai import OpenAISettings
from overnight.spec.execution import EngineSettings
from overnight.spec.model import EngineKind, ModelSpec
from overnight.telemetry.environment import gpus

# Raise it when rows get a field that answers from before do not have.
ANSWER_VERSION = 1
_TOKENS_WITH_IDS = 2  # of the same, for transformers
# Instruction sets for which kernels differ, and with them the last bits of a sum.
_KERNEL_FLAGS = (
    "sse3",
    "ssse3",
    "sse4",
    "avx",
    "fma",
    "f16c",
    "bmi2",
    "amx",
    "asimd",
    "sve",
    "sme",
    "i8mm",
    "bf16",
)


def answer_identity(model: ModelSpec, settings: EngineSettings) -> dict[str, Any] | None:
    """Return what answers are made with, beside the weights; None where they are not worth keeping.

    Two answers may stand for each other only where this is equal. Made-up answers are never kept.
    """
    if model.engine is EngineKind.OPENAI_COMPATIBLE:
        return served_identity(model, settings.openai)
    if model.engine is EngineKind.OLLAMA:
        return _ollama_identity(settings)
    if model.engine is EngineKind.TRANSFORMERS:
        return _transformers_identity(model, settings)
    if model.engine is not EngineKind.LLAMA_CPP:
        return None
    devices = _gpu_names() if settings.gpu_layers else ()
    has_gpu = bool(devices) or (platform.system() == "Darwin" and settings.gpu_layers != 0)
    is_invariant = settings.batch_invariant
    if is_invariant is None and not has_gpu:
        is_invariant = True  # as the host decides
    return {
        "answer_version": ANSWER_VERSION,
        "engine": model.engine.value,
        "library": f"xllamacpp {version('xllamacpp')}",
        "samplers": NEUTRAL,
        "batch_invariant": is_invariant,
        "gpu_layers": settings.gpu_layers if has_gpu else 0,
        "gpus": list(devices),
        "cpu": list(_kernel_features()),
        "system": f"{platform.system()} {platform.machine()}",
        **_prompts(model),
        **_spread(settings, has_gpu=has_gpu),
    }


def _prompts(model: ModelSpec) -> dict[str, Any]:
    """Return how a model without a chat template is asked; one that follows instructions has a template."""
    return {} if model.instruct else {"without_template": "texts, an empty line between them"}


def served_identity(model: ModelSpec, settings: OpenAISettings) -> dict[str, Any] | None:
    """Return what a served model's answers are made with, as far as it can be told; None unless that was asked for.

    Behind one name a server may have other weights tomorrow (docs/decisions/0008).
    """
    if not settings.cache or model.endpoint is None:
        return None
    facts = FACTS[model.endpoint.dialect]
    return {
        "answer_version": ANSWER_VERSION,
        "engine": model.engine.value,
        "dialect": model.endpoint.dialect.value,
        "samplers": dict(facts.neutral),
        "no_top_k": facts.no_top_k,
    }


def _ollama_identity(settings: EngineSettings) -> dict[str, Any] | None:
    """Return what an Ollama server answers with, as far as it says; None where there is none to ask.

    Of a server on another machine its address stands for its hardware.
    """
    from overnight.engines.ollama import asking  # noqa: PLC0415 - only where it is used
    from overnight.engines.ollama.server import address, is_here, shown  # noqa: PLC0415
    from overnight.engines.ollama.source import server_version  # noqa: PLC0415

    found = server_version(settings.ollama)
    if found is None:
        return None
    host = address(settings.ollama)
    hardware = (
        {
            "gpus": list(_gpu_names()),
            "cpu": list(_kernel_features()),
            "system": f"{platform.system()} {platform.machine()}",
        }
        if is_here(host)
        else {"server": shown(host)}
    )
    return {
        "answer_version": ANSWER_VERSION,
        "engine": EngineKind.OLLAMA.value,
        "library": f"ollama {found}",
        "samplers": asking.NEUTRAL,
        "gpu_layers": settings.gpu_layers,
        **hardware,
        **_spread(settings, has_gpu=True),
    }


def _transformers_identity(model: ModelSpec, settings: EngineSettings) -> dict[str, Any]:
    """Return what transformers answers with.

    Matrix products have other kernels for other numbers of rows, on every device, so an answer may depend in its last
    bits on what else is in its batch unless rows are computed one at a time. It is a draw of the same distribution
    all the same, so it is kept; the size of the batches is not in here.
    """
    libraries = ["torch", "transformers", "tokenizers"] + (["bitsandbytes"] if model.held_in_bits else [])
    device = settings.transformers.device
    return {
        "answer_version": _TOKENS_WITH_IDS,
        "engine": model.engine.value,
        "library": [f"{name} {version(name)}" for name in libraries],
        "samplers": SAMPLERS,
        "batch_invariant": bool(settings.batch_invariant),
        "held": model.held(),
        "attention": settings.transformers.attention,
        "device": device,
        "gpus": [] if device == "cpu" else list(_gpu_names()),
        "cpu": list(_kernel_features()),
        "system": f"{platform.system()} {platform.machine()}",
        **_prompts(model),
    }


def _spread(settings: EngineSettings, *, has_gpu: bool) -> dict[str, str]:
    """Return what else answers depend on where a model may lie on a GPU and on the processor."""
    return {"cpu_offload": "allow"} if has_gpu and settings.cpu_offload == "allow" else {}


@functools.cache
def _gpu_names() -> tuple[str, ...]:
    return tuple(str(gpu["name"]) for gpu in gpus() or ())


@functools.cache
def _kernel_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Return the instruction sets that the engine chooses its kernels by, or the processor's name without any."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return (platform.processor(),)
    flags = {
        flag
        for line in lines
        if line.partition(":")[0].strip() in {"flags", "Features"}
        for flag in line.partition(":")[2].split()
    }
    return tuple(sorted(flag for flag in flags if flag.startswith(_KERNEL_FLAGS))) or (platform.processor(),)
