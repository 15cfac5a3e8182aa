"""One file of many vectors, as safetensors: written block by block, mapped into memory, checked block by block."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.errors import StoreError
from overnight.store.files import atomic_bytes
from overnight.vectors.floats import Kept
from overnight.vectors.shards import NAMES, map_tensor

TENSOR = "vectors"
BLOCK_ROWS = 1024  # that are written, and checked, together


def write_rows(path: Path, blocks: Iterable[NDArray[Any]], n_rows: int, width: int, kept: Kept) -> list[str]:
    """Write ``[n_rows, width]`` and return the sha256 of each block; memory holds one block at a time.

    Args:
        path: the file; it is there in full or not at all.
        blocks: of `BLOCK_ROWS` rows, the last one of what is left, as they are kept (bfloat16: its bits).
        n_rows: of all blocks.
        width: numbers of a row.
        kept: the kind of number.

    Raises:
        ValueError: the blocks are not of that many rows.
    """
    digests: list[str] = []
    n_written = 0
    size = n_rows * width * kept.dtype.itemsize
    header = json.dumps({TENSOR: {"dtype": NAMES[kept], "shape": [n_rows, width], "data_offsets": [0, size]}})
    padded = header.encode("ascii").ljust(-(-len(header) // 8) * 8)  # numbers begin at a multiple of 8
    with atomic_bytes(path) as file:
        file.write(len(padded).to_bytes(8, "little") + padded)
        for block in blocks:
            data = np.ascontiguousarray(block, dtype=kept.dtype).tobytes()
            file.write(data)
            digests.append(hashlib.sha256(data).hexdigest())
            n_written += len(block)
        if n_written != n_rows:
            raise ValueError(f"{n_written} rows came, {n_rows} were announced")
    return digests


class RowFile:
    """A file of vectors, mapped; a block is compared with its digest when a row of it is first asked for."""

    def __init__(self, path: Path, kept: Kept, shape: tuple[int, int], digests: list[str]) -> None:
        """Open a file.

        Args:
            path: the file.
            kept: the kind of number that it holds.
            shape: rows and numbers of a row.
            digests: of its blocks.

        Raises:
            StoreError: it is not such a file.
        """
        self.path = path
        self._digests = digests
        self._checked: set[int] = set()
        self._rows = map_tensor(path, TENSOR, kept)
        if self._rows.shape != shape or len(digests) != -(-shape[0] // BLOCK_ROWS):
            raise StoreError(f"{path}: holds {self._rows.shape}, wanted {shape}")

    def read(self, first: int, end: int) -> NDArray[Any]:
        """Return some rows as they are kept, without copying them.

        Raises:
            StoreError: they are not what was written.
        """
        for number in range(first // BLOCK_ROWS, -(-end // BLOCK_ROWS)):
            if number not in self._checked:
                block = self._rows[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]
                if hashlib.sha256(block.data).hexdigest() != self._digests[number]:
                    raise StoreError(
                        f"{self.path}: rows {number * BLOCK_ROWS} to {number * BLOCK_ROWS + len(block) - 1} are not "
                        "what was written; take the folder away, and they are made anew"
                    )
                self._checked.add(number)
        return self._rows[first:end]
