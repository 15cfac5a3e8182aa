"""Ladders: which models stand in for one that does not fit into memory, best first."""

from typing import Any

from pydantic import Field

from overnight.spec.base import Digest, Name, Spec


class RungSpec(Spec):
    """A model that is like another one but for what is written here: a variant without a file of its own."""

    like: Name = Field(description="a file in models/")
    name: Name = Field(description="its own name; every model has one")
    source: str | None = None
    sha256: Digest | None = None
    quantization: str | None = None
    params_billion: float | None = Field(default=None, gt=0)
    context_tokens: int | None = Field(default=None, gt=0)

    def changes(self) -> dict[str, Any]:
        """Return the fields in which it differs; weights from elsewhere have a digest of their own."""
        changes = self.model_dump(exclude={"like"}, exclude_none=True)
        return changes if "source" not in changes else {"sha256": None, **changes}


class LadderSpec(Spec):
    """One file of ``config/ladders/``."""

    name: Name
    description: str = ""
    rungs: tuple[Name | RungSpec, ...] = Field(
        min_length=1, description="names of models, or variants of one; the best first"
    )
