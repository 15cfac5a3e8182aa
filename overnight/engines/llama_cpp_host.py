"""The process that holds a GGUF model: llama.cpp's own server on loopback, behind a token.

Started by ``EngineHost`` as ``python -m overnight.engines.llama_cpp_host``. The first line of standard input
is the settings as JSON; one line on standard output says that it serves; the end of standard input, which
comes when whoever started it is gone, ends it.
"""

import json
import os
import sys
import time
from typing import Any

from overnight.engines.limits import limit_memory

_PREFIXES_MIB = 512


def main() -> None:
    """Load, serve, and leave with the process that asked for it."""
    settings = json.loads(sys.stdin.readline())
    limit_memory(settings["memory_limit_bytes"])
    started = time.monotonic()
    server = _serve(settings)
    ready = {"url": server.listening_address, "load_s": round(time.monotonic() - started, 3)}
    print(json.dumps(ready), flush=True)  # noqa: T201 - the message to the parent
    sys.stdin.read()
    # The server's threads may be in the middle of an answer that nobody waits for any more.
    os._exit(0)


def _serve(settings: dict[str, Any]) -> Any:
    import xllamacpp  # noqa: PLC0415 - only here: nothing else may load llama.cpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["model_path"]
    params.hostnames = ["127.0.0.1"]
    params.port = settings["port"]
    params.api_keys = [settings["token"]]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context_tokens"] * settings["slots"]
    params.n_gpu_layers = settings["gpu_layers"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.kv_unified = False  # each slot has its own share: one long request cannot starve the others
    params.ctx_shift = False  # a prompt that does not fit is an error, never a shortened question
    params.cache_prompt = True
    params.cache_ram_mib = _PREFIXES_MIB  # a prefix that one slot has evaluated serves the others
    params.warmup = True
    # Under a limit the weights are read, not mapped from their file, and count as what they are.
    if settings["memory_limit_bytes"] is not None:
        params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.ui = False
    params.verbosity = 1
    params.fit_params = False  # what was asked for is what is loaded
    has_gpu = any("GPU" in str(device.get("type", "")) for device in xllamacpp.get_device_info())
    is_invariant = settings["batch_invariant"]
    if is_invariant is None:
        is_invariant = not has_gpu
    if is_invariant:
        # What llama.cpp computes for a token depends, in the last bits, on how many tokens are computed with it:
        # its half-precision attention has other kernels for many rows than for one. For bf16 keys and values it
        # has one kernel only, which goes row by row; see docs/decisions/0002.
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_BF16
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
