"""Datasets: where the questions are and how they are asked."""

from pathlib import Path

from pydantic import Field

from overnight.records import ItemType
from overnight.spec.base import Digest, Name, Spec


class DatasetSpec(Spec):
    """One file of questions.

    A JSONL file with ``id``, ``question``, ``answers`` and, for open-book items, ``context``.
    """

    name: Name
    type: ItemType = Field(description="closed: from memory; open: from the passage that is given")
    path: Path = Field(description="a JSONL file")
    sha256: Digest | None = Field(default=None, description="digest of the file; filled in when it is read")
    license: str | None = None
    description: str = ""
