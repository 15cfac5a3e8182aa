"""Files of tensors without torch: what is in them, and each tensor when it is wanted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from overnight.errors import StoreError

_NUMPY: Final[dict[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "BF16": np.dtype("<u2"),  # NumPy has no such type; the bits are widened
}


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """What a file says of a tensor."""

    dtype: str  # as safetensors names it: F32, BF16, I64, ...
    shape: tuple[int, ...]
    start: int  # in bytes from the beginning of the file


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFile:
    """An opened file; nothing but its header is in memory."""

    path: Path
    metadata: Mapping[str, str]
    tensors: Mapping[str, TensorFacts]

    def read(self, name: str) -> NDArray[Any]:
        """Return a tensor as it is stored; bfloat16, which NumPy lacks, as float32, exactly.

        Raises:
            KeyError: there is no such tensor.
            StoreError: its type is none that captures have.
        """
        facts = self.tensors[name]
        kind = _NUMPY.get(facts.dtype)
        if kind is None:
            raise StoreError(
                f"{self.path}: tensor {name} is {facts.dtype}, wanted one of {', '.join(_NUMPY)}"
            )
        count = int(np.prod(facts.shape, dtype=np.int64))
        stored = np.fromfile(self.path, dtype=kind, count=count, offset=facts.start).reshape(facts.shape)
        return widened(stored) if facts.dtype == "BF16" else stored


def widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return bfloat16 values as float32: the same sixteen bits with sixteen zeros behind them."""
    return (bits.astype("<u4") << np.uint32(16)).view("<f4")


def open_tensors(path: Path) -> TensorFile:
    """Return what is in a safetensors file.

    Raises:
        StoreError: it is missing, cut, or no such file.
    """
    try:
        # The library checks the header, and that the tensors fill the file.
        with safe_open(path, framework="numpy"):
            pass
        with path.open("rb") as file:
            n_header = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(n_header))
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (SafetensorError, ValueError) as error:
        raise StoreError(f"{path}: not a whole safetensors file ({error})") from None
    metadata = header.pop("__metadata__", {})
    return TensorFile(
        path=path,
        metadata=metadata,
        tensors={
            name: TensorFacts(
                dtype=facts["dtype"],
                shape=tuple(facts["shape"]),
                start=8 + n_header + facts["data_offsets"][0],
            )
            for name, facts in header.items()
        },
    )
