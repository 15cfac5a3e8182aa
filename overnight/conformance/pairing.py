"""Which two engines hold a model, and from which files."""

from dataclasses import dataclass
from pathlib import Path

from overnight.errors import UsageError
from overnight.spec.model import EngineKind, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A model as two engines hold it."""

    first: ModelSpec
    second: ModelSpec


def pair_of(model: ModelSpec, against: Path | None = None) -> Pair:
    """Return how a model is held twice: by its own engine, and by another one from the same file.

    A GGUF file is held by llama_cpp and by transformers, there in float32, which loses nothing. What is no GGUF file
    here is compared with llama_cpp and a file that the user names.

    Args:
        model: in question.
        against: GGUF file with the same weights; needed where ``model`` is no GGUF file itself.

    Raises:
        UsageError: a file is needed and not named, is named and not needed, or is not there.
    """
    if model.engine is EngineKind.DRY_RUN:
        raise UsageError(f"model {model.name}: engine: found dry_run, which holds no model; name a real one")
    if against is None and not model.is_gguf_file:
        raise UsageError(
            f"model {model.name}: {model.source} is no GGUF file that two engines could hold; name one with the same "
            "weights: --against FILE.gguf"
        )
    if against is not None:
        if model.engine is EngineKind.LLAMA_CPP:
            raise UsageError(
                f"model {model.name}: --against: not needed, since transformers holds {model.source} too; take it out"
            )
        if not against.is_file():
            raise UsageError(
                f"--against: {against}: no such file; name a GGUF file with the weights of {model.name}"
            )
        return Pair(first=model, second=_held_by(model, EngineKind.LLAMA_CPP, source=str(against.resolve())))
    if model.engine is EngineKind.LLAMA_CPP:
        return Pair(first=model, second=_held_by(model, EngineKind.TRANSFORMERS, source=model.source))
    return Pair(first=model, second=_held_by(model, EngineKind.LLAMA_CPP, source=model.source))


def _held_by(model: ModelSpec, engine: EngineKind, *, source: str) -> ModelSpec:
    """Return the same weights for another engine."""
    for_transformers = engine is EngineKind.TRANSFORMERS
    return ModelSpec(
        name=model.name,
        engine=engine,
        source=source,
        sha256=model.sha256 if source == model.source else None,
        family=model.family,
        params_billion=model.params_billion,
        quantization="fp32" if for_transformers else model.quantization,
        context_tokens=model.context_tokens,
    )
