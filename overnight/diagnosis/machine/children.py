"""What torch and llama.cpp see, asked in children: neither is loaded here, and one that hangs is ended."""

import json
import subprocess
import sys
from typing import Any

from overnight.diagnosis.machine.check import Check, Surroundings, note, ok, problem
from overnight.telemetry.environment import gpus

_LIMIT_S = 6.0
_TORCH = """
import json, torch
print(json.dumps({
    "version": torch.__version__,
    "built_for_cuda": torch.version.cuda,
    "cuda": torch.cuda.is_available(),
    "mps": torch.backends.mps.is_available(),
    "threads": torch.get_num_threads(),
}))
"""
_LLAMA_CPP = """
import json, xllamacpp
from importlib.metadata import version
devices = [
    {"name": d["name"], "what": d["description"], "memory_bytes": d["memory_total"], "type": d["type"].name}
    for d in xllamacpp.get_device_info()
]
print(json.dumps({"version": version("xllamacpp"), "devices": devices}))
"""


def ask_child(code: str, limit_s: float = _LIMIT_S) -> dict[str, Any] | str:
    """Return the JSON that some Python prints in a process of its own, or why there is none."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return f"did not answer within {limit_s:g} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == 0 and lines:
        value: dict[str, Any] = json.loads(lines[-1])
        return value
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [
        f"exit code {done.returncode}"
    ]
    return said[-1]


def check_torch(around: Surroundings) -> list[Check]:
    """Say which torch there is, and what it can use."""
    del around
    return [judge_torch(ask_child(_TORCH), has_gpu=bool(gpus()))]


def judge_torch(found: dict[str, Any] | str, *, has_gpu: bool) -> Check:
    """Judge what a child said of torch, or why it said nothing."""
    if isinstance(found, str):
        if "did not answer" in found:
            return note("torch", f"torch {found}; the disk may be slow, or it is its first import")
        return problem("torch", f"torch cannot be imported: {found}", "install overnight again")
    uses = "CUDA" if found["cuda"] else "Apple's GPU (MPS)" if found["mps"] else "the processor"
    text = f"torch {found['version']} uses {uses}"
    if has_gpu and not found["cuda"]:
        build = (
            f"built for CUDA {found['built_for_cuda']}" if found["built_for_cuda"] else "built without CUDA"
        )
        return note(
            "torch",
            f"{text}, though there is an NVIDIA GPU: it is {build}",
            "install a build of torch for the driver's CUDA version; llama_cpp models do not need it",
            **found,
        )
    return ok("torch", text, **found)


def check_llama_cpp(around: Surroundings) -> list[Check]:
    """Say on what llama.cpp would run."""
    del around
    return [judge_llama_cpp(ask_child(_LLAMA_CPP), has_gpu=bool(gpus()))]


def judge_llama_cpp(found: dict[str, Any] | str, *, has_gpu: bool) -> Check:
    """Judge what a child said of xllamacpp, or why it said nothing."""
    if isinstance(found, str):
        if "did not answer" in found:
            return note("llama.cpp", f"xllamacpp {found}; the disk may be slow")
        return problem("llama.cpp", f"xllamacpp cannot be loaded: {found}", "install overnight again")
    devices = found["devices"]
    text = f"xllamacpp {found['version']} sees {', '.join(d['what'] or d['name'] for d in devices) or 'no device'}"
    if has_gpu and not any("GPU" in device["type"] for device in devices):
        return note(
            "llama.cpp",
            f"{text}, though there is an NVIDIA GPU: models would run on the processor",
            "install a build of xllamacpp for CUDA or Vulkan",
            **found,
        )
    return ok("llama.cpp", text, **found)
