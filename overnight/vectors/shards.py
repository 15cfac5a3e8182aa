"""Files of rows of states, as safetensors that are mapped into memory and not read."""

import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import TensorSpec, serialize

from overnight.errors import StoreError
from overnight.ids import file_digest
from overnight.store.files import atomic_bytes
from overnight.vectors.floats import Kept

SUFFIX = ".safetensors"
_TENSOR = "states"
NAMES = {Kept.FLOAT32: "F32", Kept.FLOAT16: "F16", Kept.BFLOAT16: "BF16"}
_LONGEST_HEADER = 1 << 20


def write_shard(path: Path, states: NDArray[Any], kept: Kept, metadata: dict[str, str]) -> tuple[str, int]:
    """Write ``[n, P, d]``; return the file's sha256 and its length in bytes.

    Tools that read safetensors see bfloat16 where numpy has its bits.
    """
    held = np.ascontiguousarray(states, dtype=kept.dtype)
    spec = TensorSpec(dtype=kept.value, shape=held.shape, data_ptr=held.ctypes.data, data_len=held.nbytes)
    data = serialize({_TENSOR: spec}, metadata=metadata)
    with atomic_bytes(path) as file:
        file.write(data)
    # What is on the disk is what is sealed: a disk that loses bytes is found out now and not when they are wanted.
    return file_digest(path), len(data)


def map_shard(path: Path, kept: Kept) -> NDArray[Any]:
    """Return a file's ``[n, P, d]`` without reading it.

    Raises:
        StoreError: it is not such a file.
    """
    return map_tensor(path, _TENSOR, kept)


def map_tensor(path: Path, name: str, kept: Kept) -> NDArray[Any]:
    """Return one tensor of a file without reading it.

    Raises:
        StoreError: the file has none of that name and kind.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _LONGEST_HEADER:
                raise StoreError(f"{path}: not a file of states (its header would have {length} bytes)")
            found = json.loads(file.read(length))[name]
            first, end = found["data_offsets"]
            shape = tuple(found["shape"])
            if found["dtype"] != NAMES[kept]:
                raise StoreError(f"{path}: holds {found['dtype']}, wanted {NAMES[kept]}")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    try:
        values = np.frombuffer(mapped, kept.dtype, (end - first) // kept.dtype.itemsize, 8 + length + first)
        return values.reshape(shape)
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path}: shorter than its header says ({error})") from None
