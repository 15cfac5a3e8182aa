"""A trait: the texts that show it and those that do not, from which a direction among activations is made."""

from pathlib import Path

from pydantic import Field, NonNegativeInt

from overnight.spec.base import Digest, Name, Spec


class TraitSpec(Spec):
    """A folder with ``positive.txt`` and ``negative.txt``, a text a line, or with ``instructions.yaml``."""

    name: Name = Field(description="short name: that of its folder")
    path: Path = Field(description="the folder; `definition.txt` in it says what is meant")
    is_paired: bool = Field(
        default=True, description="line i of both files share a scene; false: they may be of unequal number"
    )
    longest_bytes: NonNegativeInt | None = Field(
        default=None,
        description="of a text, or of an instruction with its question; filled in with the digest",
    )
    sha256: Digest | None = Field(
        default=None, description="digest of its texts; filled in when they are read"
    )
