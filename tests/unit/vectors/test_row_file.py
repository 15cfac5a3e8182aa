"""A file of vectors gives back what it was given, block by block, and says what is not that."""

from pathlib import Path

import numpy as np
import pytest

from overnight.errors import StoreError
from overnight.vectors.floats import Kept
from overnight.vectors.row_file import BLOCK_ROWS, RowFile, write_rows

N, D = 2 * BLOCK_ROWS + 5, 3
VALUES = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)


def write(path: Path, n_rows: int = N) -> list[str]:
    blocks = (VALUES[first : first + BLOCK_ROWS] for first in range(0, N, BLOCK_ROWS))
    return write_rows(path, blocks, n_rows, D, Kept.FLOAT32)


def test_rows_come_back_over_the_ends_of_blocks(tmp_path: Path) -> None:
    digests = write(tmp_path / "v.safetensors")
    assert len(digests) == 3
    file = RowFile(tmp_path / "v.safetensors", Kept.FLOAT32, (N, D), digests)
    for first, end in ((0, N), (BLOCK_ROWS - 1, BLOCK_ROWS + 1), (N - 1, N), (7, 7)):
        assert np.array_equal(file.read(first, end), VALUES[first:end])


def test_only_the_block_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    digests = write(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    file = RowFile(path, Kept.FLOAT32, (N, D), digests)
    assert np.array_equal(file.read(0, 2 * BLOCK_ROWS), VALUES[: 2 * BLOCK_ROWS])
    with pytest.raises(StoreError, match=f"rows {2 * BLOCK_ROWS} to {N - 1} are not what was written"):
        file.read(2 * BLOCK_ROWS - 1, N)


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    digests = write(path)
    for kept, shape in ((Kept.FLOAT32, (N - 1, D)), (Kept.FLOAT16, (N, D))):
        with pytest.raises(StoreError, match="wanted"):
            RowFile(path, kept, shape, digests)
    with pytest.raises(StoreError, match="wanted"):
        RowFile(path, Kept.FLOAT32, (N, D), digests[:-1])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StoreError, match="shorter than its header says"):
        RowFile(path, Kept.FLOAT32, (N, D), digests)


def test_a_file_of_fewer_rows_than_were_announced_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{N} rows came, {N + 1} were announced"):
        write(tmp_path / "v.safetensors", N + 1)
    assert list(tmp_path.iterdir()) == []
