"""A fitted lens is a folder: what it is in ``lens.yaml``, its numbers in ``lens.safetensors``, and ``adapter/``.

``adapter/`` is peft's, and there only where the decoder changes the model's attention. Nothing here imports torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from overnight.errors import StoreError, UsageError
from overnight.ids import digest
from overnight.planning.identity import weights_identity
from overnight.spec.dataset import Columns, DatasetSpec
from overnight.spec.lens import LensFit, LensSpec
from overnight.spec.model import ModelSpec
from overnight.spec.reading import read_mapping, validate
from overnight.store.files import write_text

SCHEMA_VERSION: Final = "1"
# Raise it when the same lens, model and texts come to be fitted otherwise.
LENS_VERSION: Final = 1
KIND: Final = "lenses"  # of the content store
LENS_FILE: Final = "lens.yaml"
WEIGHTS_FILE: Final = "lens.safetensors"
ADAPTER: Final = "adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class LensDescription:
    """What a fitted lens is, and for which model."""

    lens: LensSpec  # with `fit`, whose datasets are names
    model: str  # name
    model_digest: str  # of the weights and how they are held
    width: int  # D, of the vectors
    data_digest: str  # of the texts that it learned from
    fit: Mapping[str, Any] = field(default_factory=dict)  # steps, losses, recovery on held-out texts

    @property
    def layer(self) -> int:
        """The layer whose ``residual_out`` is said in words."""
        assert self.lens.layer is not None  # noqa: S101 - a lens that is fitted names its layer
        return self.lens.layer

    def require_model(self, model: ModelSpec, folder: Path) -> None:
        """Check that a lens belongs to a model.

        Raises:
            UsageError: it was fitted to other weights, or to the same held otherwise.
        """
        if digest(weights_identity(model)) != self.model_digest:
            raise UsageError(
                f"{folder}: this lens was fitted to {self.model!r}, and {model.name!r} has other weights or holds them "
                "otherwise; choose the lens of this model, or fit one (overnight fit-lens)"
            )


def read_lens(folder: Path) -> LensDescription:
    """Return what a folder says of its lens.

    Raises:
        UsageError: the folder holds no lens.
        StoreError: what it says cannot be read, or is of another version.
    """
    path = folder / LENS_FILE
    if not path.is_file():
        raise UsageError(
            f"{folder}: no {LENS_FILE} in it; wanted the folder of a fitted lens (overnight fit-lens makes one)"
        )
    try:
        value = read_mapping(path, "a fitted lens", expand=False)
        if value.get("schema_version") != SCHEMA_VERSION:
            raise StoreError(
                f"{path}: schema_version: found {value.get('schema_version')!r}, wanted {SCHEMA_VERSION!r}; "
                "fit the lens again"
            )
        return LensDescription(
            lens=validate(LensSpec, value["lens"], path),
            model=str(value["model"]),
            model_digest=str(value["model_digest"]),
            width=int(value["width"]),
            data_digest=str(value["data_digest"]),
            fit=dict(value["fit"]),
        )
    except (UsageError, KeyError, TypeError, ValueError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise StoreError(f"{path}: no description of a lens ({said}); fit the lens again") from None


def write_lens(folder: Path, description: LensDescription) -> None:
    """Write what a lens is; last, for it says that the rest is there."""
    value = {
        "schema_version": SCHEMA_VERSION,
        "lens": description.lens.model_dump(mode="json", exclude={"path"}),
        "model": description.model,
        "model_digest": description.model_digest,
        "width": description.width,
        "data_digest": description.data_digest,
        "fit": dict(description.fit),
    }
    write_text(folder / LENS_FILE, yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110))


def find_folder(path: Path) -> Path:
    """Return the folder of a fitted lens that a path means: itself, or the youngest of those in it.

    Raises:
        UsageError: there is none.
    """
    if (path / LENS_FILE).is_file():
        return path
    found = [(file.stat().st_mtime_ns, file.parent) for file in path.glob(f"*/{LENS_FILE}")]
    if not found:
        raise UsageError(
            f"{path}: no fitted lens here; wanted a folder with {LENS_FILE}, or a folder of such folders"
        )
    return max(found)[1]


def lens_identity(lens: LensSpec, model: ModelSpec, datasets: Sequence[DatasetSpec]) -> dict[str, Any]:
    """Return what makes two fitted lenses the same.

    Not in it: what the lens and the model are called, and where a file of texts is.

    Args:
        lens: with `fit`.
        model: with its digest.
        datasets: those of the fit, with their digests.
    """
    return {
        "version": LENS_VERSION,
        "lens": lens.model_dump(
            mode="json", exclude={"name": True, "description": True, "path": True, "fit": {"datasets"}}
        ),
        "model": weights_identity(model),
        "data": data_identity(datasets),
    }


def data_identity(datasets: Sequence[DatasetSpec]) -> dict[str, Any]:
    """Return what makes two selections of texts the same."""
    return {
        each.name: {
            "format": each.format.value,
            "columns": (each.columns or Columns()).model_dump() if each.format.has_columns else None,
            "max_items": each.max_items,
            "hub": each.hub and each.hub.model_dump(),
            "sha256": each.sha256,
        }
        for each in datasets
    }


def with_named_datasets(lens: LensSpec) -> LensSpec:
    """Return a lens whose datasets are names: where files lay when it was fitted is no part of it."""
    assert lens.fit is not None  # noqa: S101 - only what is fitted is described
    names = tuple(each if isinstance(each, str) else each.name for each in lens.fit.datasets)
    fit: LensFit = lens.fit.model_copy(update={"datasets": names})
    return lens.model_copy(update={"fit": fit})
