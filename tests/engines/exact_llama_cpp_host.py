"""A llama.cpp host that rounds nothing to fewer than 32 bits but what is in its file."""

from typing import Any

import xllamacpp

from overnight.engines import llama_cpp_host

_Server = xllamacpp.Server


def _exact(params: Any) -> Any:
    # The attention of the runs takes its operands in 16 bits, whatever keys and values are kept in; the other one
    # computes in the type that they are kept in.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return _Server(params)


if __name__ == "__main__":
    xllamacpp.Server = _exact
    llama_cpp_host.main()
