"""The process that holds a GGUF model: llama.cpp's own server on loopback, behind a token.

Started by ``EngineHost`` as ``python -m overnight.engines.llama_cpp_host``. The first line of standard input
is the settings as JSON; one line on standard output says that it serves; the end of standard input, which
comes when whoever started it is gone, ends it.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from overnight.engines.limits import limit_memory
from overnight.engines.llama_cpp_layers import place
from overnight.engines.messages import say_ready, say_refused
from overnight.engines.placement import Placement
from overnight.errors import GpuUnusable, OutOfMemory, UsageError
from overnight.memory.gguf_header import read_header

_PREFIXES_MIB = 512
# For a model without a chat template: its texts as they are, an empty line between them, as transformers does it.
# llama.cpp would take another model's template, whose markers such a model has never seen and goes on writing.
_PLAIN_TEMPLATE = (
    "{%- for message in messages -%}{{ message['content'] }}"
    "{%- if not loop.last -%}{{ '\\n\\n' }}{%- endif -%}{%- endfor -%}"
)


def main() -> None:
    """Load, serve, and leave with the process that asked for it."""
    settings = json.loads(sys.stdin.readline())
    limit_memory(settings["memory_limit_bytes"])
    started = time.monotonic()
    try:
        server, placement = _serve(settings)
    except (GpuUnusable, OutOfMemory) as error:
        say_refused(error)
        return
    say_ready(server.listening_address, time.monotonic() - started, placement)
    sys.stdin.read()
    # The server's threads may be in the middle of an answer that nobody waits for any more.
    os._exit(0)


def _serve(settings: dict[str, Any]) -> tuple[Any, Placement]:
    import xllamacpp  # noqa: PLC0415 - only here: nothing else may load llama.cpp

    gpus = [
        device for device in xllamacpp.get_device_info() if device["type"].name.endswith("GPU")
    ]  # or IGPU
    may_use_gpu = bool(gpus) and settings["gpu_layers"] != 0
    is_invariant = settings["batch_invariant"]
    if is_invariant is None:
        is_invariant = not may_use_gpu
    placement = place(
        settings,
        library=f"xllamacpp {xllamacpp.__version__}",
        gpus=[(str(device["description"]), int(device["memory_free"])) for device in gpus],
        kv_type="bf16" if is_invariant else "f16",
    )
    params = xllamacpp.CommonParams()
    params.model.path = settings["model_path"]
    params.hostnames = ["127.0.0.1"]
    params.port = settings["port"]
    params.api_keys = [settings["token"]]
    # Else any page in a browser may read what wants no token: llama.cpp allows every origin.
    params.cors_origins, params.cors_origins_explicit = "", True
    params.cors_methods = params.cors_headers = ""
    params.cors_credentials = False
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context_tokens"] * settings["slots"]
    params.n_gpu_layers = -1 if placement.is_whole_on_gpu else placement.gpu_layers or 0
    params.no_op_offload = (
        not placement.devices
    )  # else a GPU computes long prompts of a model that is on the processor
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.kv_unified = False  # each slot has its own share: one long request cannot starve the others
    params.ctx_shift = False  # a prompt that does not fit is an error, never a shortened question
    params.cache_prompt = True
    # A prefix that one slot has evaluated serves the others; where memory is scarce, the model has it.
    params.cache_ram_mib = _PREFIXES_MIB if settings["memory_limit_bytes"] is None else 0
    if settings["memory_limit_bytes"] is None:
        params.slot_save_path = os.path.join(settings["scratch"], "")  # noqa: PTH118 - llama.cpp adds a name to it
    params.warmup = True
    # Under a limit the weights are read, not mapped from their file, and count as what they are.
    if settings["memory_limit_bytes"] is not None:
        params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    if not _has_chat_template(settings["model_path"]):
        params.chat_template = _PLAIN_TEMPLATE
    params.ui = False
    params.verbosity = 1
    params.fit_params = False  # what was asked for is what is loaded
    if is_invariant:
        # What llama.cpp computes for a token depends, in the last bits, on how many tokens are computed with it:
        # its half-precision attention has other kernels for many rows than for one. For bf16 keys and values it
        # has one kernel only, which goes row by row; see docs/decisions/0002.
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_BF16
    return xllamacpp.Server(params), placement


def _has_chat_template(model_path: str) -> bool:
    """Return whether a GGUF file has a chat template; where its header cannot be read llama.cpp says what is wrong."""
    try:
        return "tokenizer.chat_template" in read_header(Path(model_path)).metadata
    except UsageError:
        return True


if __name__ == "__main__":
    main()
