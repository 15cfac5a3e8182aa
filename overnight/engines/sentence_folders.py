"""Folders as sentence-transformers writes them: a model at the top, and folders of what follows it."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from overnight.engines.hf_folders import counted_files
from overnight.errors import StoreError, UsageError
from overnight.store.files import read_json

MODULES = "modules.json"


@dataclass(frozen=True, slots=True)
class Module:
    """A part of a sentence-transformers model."""

    type: str  # the last part of its class: Transformer, Pooling, Normalize...
    folder: Path


def modules(folder: Path, model: str) -> list[Module] | None:
    """Return the parts of a sentence-transformers model, in their order; None for a model that is none.

    Raises:
        UsageError: what says so is not of the form that is known.
    """
    path = folder / MODULES
    if not path.is_file():
        return None
    try:
        return [_module(folder, row) for row in read_json(path)]
    except (StoreError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"model {model}: source: {path}: not a list of modules as sentence-transformers writes it "
            f"({type(error).__name__}: {error}); download the folder again"
        ) from None


def files_with_modules(folder: Path, model: str) -> dict[str, Path]:
    """Return the files of a model's folder that can change what it computes, by their paths in it.

    Those of a model that is none of sentence-transformers are ``counted_files``.

    Raises:
        UsageError: the folder is not a model's, or is not whole.
    """
    files = counted_files(folder, model)
    for module in modules(folder, model) or ():
        if module.folder != folder:
            files += sorted(path for path in module.folder.rglob("*") if path.is_file())
    return {file.relative_to(folder).as_posix(): file for file in files}


def _module(folder: Path, row: dict[str, Any]) -> Module:
    inner = PurePosixPath(row["path"])
    if inner.is_absolute() or ".." in inner.parts:
        raise ValueError(f"{inner} leads out of the folder")
    return Module(type=row["type"].rpartition(".")[2], folder=folder / inner)
