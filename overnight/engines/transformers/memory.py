"""Memory of one device: when an error means that there is none left, what a token takes, and what is free."""

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import torch

_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "failed to allocate")
_SHARE = 0.5  # of what is free; the rest is for what the estimate does not know
_MOST_TOKENS = 65_536  # larger batches are no faster
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1  # malloc.h of glibc
LARGE_WHILE_READING = 1 << 20  # weights, and prompts: large blocks, once each
LARGE_WHILE_WRITING = 4 << 20
_KEPT_BYTES = 64 << 20  # free at the end of the heap, before it is made shorter


def is_out_of_memory(error: BaseException) -> bool:
    """True where an error says that memory was not there: torch's CPU allocator raises a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def release(device: torch.device) -> None:
    """Give what is not used any more back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    elif sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps what was freed; others do not
        if trim is not None:
            trim(0)


def give_large_blocks_back(n_bytes: int) -> None:
    """Have the C library give every block of so many bytes back as soon as it is freed, from now on.

    glibc before 2.38 cannot use the hole that an aligned block leaves for another one of its size
    (https://sourceware.org/bugzilla/show_bug.cgi?id=14581), and torch aligns all of its own. bitsandbytes multiplies
    int8 on the processor through many large ones, so that half of what it came to hold was holes. What is given back
    has to be taken anew, page by page: for each token int8 makes all matrices anew in 32 bits, which are to be below
    the limit while a small model writes. Other C libraries are left as they are.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, n_bytes)
        set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)  # else the heap is made shorter at every turn


@contextlib.contextmanager
def large_blocks_given_back() -> Iterator[None]:
    """Give blocks back from 1 MiB on while prompts are evaluated, and from 4 MiB on afterwards.

    With 1 MiB throughout, writing took twice as long (SmolLM2-135M in int8, 10 prompts, 168 s for 75 s).
    """
    give_large_blocks_back(LARGE_WHILE_READING)
    try:
        yield
    finally:
        give_large_blocks_back(LARGE_WHILE_WRITING)


def free_bytes(device: torch.device) -> int:
    """Return what is free on a device now, other processes and a limit on this one counted."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = int(psutil.virtual_memory().available)
    if device.type == "mps":
        return min(
            available, int(torch.mps.recommended_max_memory()) - int(torch.mps.driver_allocated_memory())
        )
    return min(available, _left_of_the_limit() or available)


def _left_of_the_limit() -> int | None:
    """Return what this process may still take of the limit that `limit_memory` has set; None without one."""
    if sys.platform != "linux":
        return None
    import resource  # noqa: PLC0415 - not on every system

    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY:
        return None
    return max(1, soft - int(psutil.Process().memory_info().data))


def token_bytes(config: Any, dtype: torch.dtype) -> int:
    """Return what a token of a batch takes: keys and values twice, and the widest activations of one layer.

    Keys and values: 2 x layers x heads of keys x dimensions of a head. They are counted twice because rows that leave
    a batch are taken out by a copy, layer by layer, and attention repeats the heads of a group.
    """
    text = config.get_text_config(decoder=True)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    keys_values = 2 * text.num_hidden_layers * heads * width
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    activations = 6 * text.hidden_size + 3 * inner
    return int((2 * keys_values + activations) * dtype.itemsize)


def batch_budget(config: Any, dtype: torch.dtype, device: torch.device, one_request: int) -> int:
    """Return how many tokens a batch may have: what half of the free memory holds, and one request at least."""
    fitting = int(free_bytes(device) * _SHARE) // token_bytes(config, dtype)
    return max(one_request, min(fitting, _MOST_TOKENS))
