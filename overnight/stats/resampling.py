"""How much memory a resampling may take."""

from collections.abc import Iterator

CELLS_PER_CHUNK = 1 << 20  # 8 MiB of draws at a time, whatever the number of resamples


def chunks(n_resamples: int, cells_per_resample: int) -> Iterator[slice]:
    """Cut the resamples into runs of at most `CELLS_PER_CHUNK` cells, at least one resample each."""
    step = max(1, CELLS_PER_CHUNK // max(1, cells_per_resample))
    for start in range(0, n_resamples, step):
        yield slice(start, min(start + step, n_resamples))
