"""From what a sweep says of its lenses to lenses that can be used: where they are, and whether they belong to it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from overnight.errors import UsageError
from overnight.ids import digest, file_digest
from overnight.lens.folder import LensDescription, find_folder, read_lens
from overnight.runs.lens_fits import fitted_lens
from overnight.spec.dataset import DatasetSpec
from overnight.spec.lens import LensSpec
from overnight.spec.model import ModelSpec

DatasetFinder = Callable[[str | DatasetSpec], DatasetSpec]


def resolve_lens(lens: LensSpec, dataset: DatasetFinder) -> LensSpec:
    """Return a lens with the names in it replaced by what they stand for; a resolved lens comes back unchanged.

    Of a folder its digest is taken, and what it says of its lens: the layer, the decoder, and how long a text is where
    nobody says otherwise.

    Args:
        lens: as somebody wrote it.
        dataset: finds the texts that it is fitted to.

    Raises:
        UsageError: there is no such folder or dataset, or the folder's lens is of another layer.
        StoreError: the folder's description is damaged.
    """
    if lens.fit is not None:
        datasets = tuple(dataset(each) for each in lens.fit.datasets)
        return lens.model_copy(update={"fit": lens.fit.model_copy(update={"datasets": datasets})})
    if lens.path is None or lens.sha256 is not None:
        return lens  # what lies there is compared with it before it is used
    folder = find_folder(lens.path).resolve()
    described = read_lens(folder)
    if lens.layer not in (None, described.layer):
        raise UsageError(
            f"lens {lens.name}: layer: found {lens.layer}, and {folder} is a lens of layer {described.layer}; "
            "leave the layer out"
        )
    own = {} if "text_tokens" in lens.model_fields_set else {"text_tokens": described.lens.text_tokens}
    return lens.model_copy(
        update={
            "path": folder,
            "sha256": folder_digest(folder),
            "layer": described.layer,
            "decoder": described.lens.decoder,
            **own,
        }
    )


def lens_folder(lens: LensSpec, model: ModelSpec) -> Path:
    """Return the folder of a lens that is fitted to a model.

    Raises:
        UsageError: it was not fitted yet, or its folder is not what it was when the run began.
    """
    if lens.path is None:
        return fitted_lens(lens, model)
    if not lens.path.is_dir() or folder_digest(lens.path) != lens.sha256:
        raise UsageError(
            f"lens {lens.name}: {lens.path} is not what it was when the run began; restore it, or start a new run"
        )
    read_lens(lens.path).require_model(model, lens.path)
    return lens.path


def folder_digest(folder: Path) -> str:
    """Return the digest of a folder's files and their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest({path.relative_to(folder).as_posix(): file_digest(path) for path in files})


def require_fitting(
    lenses: Sequence[LensSpec], models: Sequence[ModelSpec], datasets: Sequence[DatasetSpec]
) -> None:
    """Check that lenses belong to models, and that they have not learned what they are measured on.

    Args:
        lenses: resolved.
        models: with their digests.
        datasets: of the sweep, with their digests.

    Raises:
        UsageError: a lens was fitted to another model, or to texts of the sweep.
    """
    described = {lens.name: read_lens(lens.path) for lens in lenses if lens.path is not None}
    for lens in lenses:
        if lens.path is not None:
            for model in models:
                described[lens.name].require_model(model, lens.path)
        learned = _learned(lens, described.get(lens.name))
        for dataset in datasets:
            if not learned.isdisjoint({dataset.name, dataset.sha256}):
                raise UsageError(
                    f"lens {lens.name}: it learns from dataset {dataset.name}, which the sweep measures it on; "
                    "name other texts in experiment.datasets, or in the lens's fit.datasets"
                )


def _learned(lens: LensSpec, described: LensDescription | None) -> set[str | None]:
    """Return the names of the texts that a lens learns from, and their digests where these are known."""
    fit = described.lens.fit if described else lens.fit
    texts = fit.datasets if fit else ()
    names: set[str | None] = {each if isinstance(each, str) else each.name for each in texts}
    return names | {each.sha256 for each in texts if isinstance(each, DatasetSpec) and each.sha256}
