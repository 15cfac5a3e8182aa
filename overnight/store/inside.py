"""Names that files give to other files: they stay inside their folder, on every system, whoever wrote them.

A run folder may be damaged, or have come from somebody else; what it says of itself is then no more than a text.
"""

from pathlib import Path
from typing import Any

from overnight.errors import StoreError
from overnight.file_names import is_file_name, is_relative_path


def child(folder: Path, name: Any, ending: str = "") -> Path:
    """Return what a name means in a folder: one file or folder in it, and nothing else.

    Raises:
        StoreError: the name leads somewhere else, or is none.
    """
    if not (isinstance(name, str) and is_file_name(name) and is_file_name(f"{name}{ending}")):
        raise StoreError(f"{folder}: {_shown(name)} is no name of a file in it; restore what names it so")
    return folder / f"{name}{ending}"


def below(folder: Path, path: Any) -> Path:
    """Return what a relative path with forward slashes means in a folder: something in it, however deep.

    Raises:
        StoreError: the path leads out of the folder, or is none.
    """
    if not is_relative_path(path):
        raise StoreError(f"{folder}: {_shown(path)} is no path of a file in it; restore what names it so")
    return folder / str(path)


def _shown(value: Any, limit: int = 80) -> str:
    text = ascii(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
