"""Sums on the disk: shards that were written apart are added up, never averaged."""

from dataclasses import fields
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from overnight.best_of_k.sums import RecoverySums
from overnight.errors import StoreError
from overnight.store.files import atomic_bytes

_NUMBERS: Final = tuple(
    each.name for each in fields(RecoverySums) if each.name not in ("ks", "sources", "n_short")
)


def write_sums(path: Path, sums: RecoverySums) -> None:
    """Write sums as npz; the same sums give the same bytes."""
    held = {name: getattr(sums, name) for name in _NUMBERS}
    with atomic_bytes(path) as file:
        np.savez(
            file,
            allow_pickle=False,
            ks=np.array(sums.ks, dtype=np.int64),
            sources=np.array(sums.sources, dtype=np.str_),
            n_short=np.int64(sums.n_short),
            **held,
        )


def read_sums(path: Path) -> RecoverySums:
    """Return the sums of a file.

    Raises:
        StoreError: it is missing or is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            return RecoverySums(
                ks=tuple(int(k) for k in held["ks"]),
                sources=tuple(str(each) for each in held["sources"]),
                n_short=int(held["n_short"]),
                **{name: held[name] for name in _NUMBERS},
            )
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file") from None
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise StoreError(f"{path}: not a file of sums ({' '.join(str(error).split())})") from None
