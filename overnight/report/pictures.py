"""The figures of a run, as a page shows them."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from overnight.report.uncertainty.results import Picture

_PNG: Final = b"\x89PNG\r\n\x1a\n"


def pictures_of(folder: Path, titles: Iterable[tuple[str, str]]) -> Iterator[Picture]:
    """Yield the pictures of some names in a folder, each with its title and its size."""
    for name, title in titles:
        path = folder / f"{name}.png"
        with path.open("rb") as file:
            head = file.read(24)
        if head.startswith(_PNG):
            width, height = struct.unpack(">II", head[16:24])
            yield Picture(path=path, title=title, width=width, height=height)
