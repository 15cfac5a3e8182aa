"""GGUF files for transformers: dequantised once, and kept as safetensors."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from overnight.errors import EngineCrashed, OutOfMemory
from overnight.store.content_store import ContentStore, Entry, cache_folder

_MODULE = "overnight.engines.transformers.dequantising"
_VERSION = 1  # raise it when the conversion writes something else
_OUT_OF_MEMORY_SIGNS = ("memoryerror", "out of memory", "can't allocate memory", "cannot allocate memory")
_KILLED = -9  # as the kernel does where the memory is gone


def dequantised(file: Path, sha256: str, dtype: str, cache: Path | None = None) -> Entry:
    """Return the folder of safetensors that a GGUF file stands for; made in a process of its own where it is missing.

    Nothing is lost in ``float32``: a quantised weight is a short integer times a scale, plus an offset.

    Args:
        file: GGUF.
        sha256: of the file.
        dtype: of the weights that are written.
        cache: None for the cache folder.

    Raises:
        OutOfMemory: the weights do not fit in that dtype.
        EngineCrashed: transformers cannot read the file.
    """

    def build(folder: Path) -> None:
        command = [sys.executable, "-m", _MODULE, str(file), dtype, str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        if result.returncode:
            raise _problem(file, dtype, result.returncode, result.stderr)

    identity = {
        "gguf": sha256,
        "dtype": dtype,
        "conversion": _VERSION,
        "transformers": version("transformers"),
        "gguf_library": version("gguf"),
    }
    return ContentStore(cache or cache_folder(), "dequantised").get_or_build(identity, build)


def _problem(file: Path, dtype: str, code: int, said: str) -> OutOfMemory | EngineCrashed:
    if code == _KILLED or any(sign in said.lower() for sign in _OUT_OF_MEMORY_SIGNS):
        return OutOfMemory(
            f"{file.name} dequantised to {dtype} does not fit into memory; take a smaller dtype"
        )
    lines = [line for line in said.splitlines() if line.strip()] or [f"exit code {code}"]
    return EngineCrashed(f"{file.name} cannot be dequantised by transformers: {lines[-1].strip()[:300]}")
