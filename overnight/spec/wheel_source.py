"""Files and folders in wheels: ``pypi:package==version#file``, and files that several wheels hold a part each of."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from overnight.file_names import is_file_name, is_relative_path

WANTED = "pypi:package==version#file"
_SCHEME = "pypi:"
_BETWEEN = " + "
# A name and a version as package indexes have them, and nothing else: pip would take `-e git+https://...` for an option
# and `name@https://...` for an address, and run what it finds there.
_MEMBER = re.compile(
    r"(?P<package>[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*)#(?P<path>[^#]+)"
)
_PART = re.compile(r"(?P<name>.+)\.part(?P<number>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelMember:
    """One file or folder of one wheel."""

    package: str  # package==version
    path: str  # whole, or its last parts


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """What a source names: a file or a folder of one wheel, or the parts of a file in their order."""

    name: str  # of the file or folder; that of the parts without .partNN
    members: tuple[WheelMember, ...]

    @property
    def label(self) -> str:
        """The source in words: where it has parts, the first of them."""
        first = f"{_SCHEME}{self.members[0].package}#{self.members[0].path}"
        n_parts = len(self.members)
        return first if n_parts == 1 else f"{self.name} in {n_parts} parts, {first} and so on"

    @classmethod
    def parse(cls, source: str) -> Self:
        """Return what a source says.

        Parts are joined by `` + `` with a space on both sides, and their files end with .part00, .part01 and so on
        (or .part01, .part02 and so on), so that one that is missing or in the wrong place is seen before a download.

        Raises:
            ValueError: it says something else.
        """
        found = [_MEMBER.fullmatch(member) for member in source.removeprefix(_SCHEME).split(_BETWEEN)]
        named = [match for match in found if match is not None]
        if not source.startswith(_SCHEME) or len(named) < len(found) or not all(map(_is_path, named)):
            raise ValueError(
                f"source {source!r}: wanted {WANTED}, and parts of a file joined by {_BETWEEN!r}"
            )
        members = tuple(WheelMember(package=match["package"], path=match["path"]) for match in named)
        if len(members) == 1:
            return cls(name=PurePosixPath(members[0].path).name, members=members)
        return cls(name=_joined_name(source, members), members=members)


def _joined_name(source: str, members: tuple[WheelMember, ...]) -> str:
    parts = [_PART.fullmatch(PurePosixPath(member.path).name) for member in members]
    names = {part["name"] for part in parts if part}
    numbers = [int(part["number"]) for part in parts if part]
    first = min(numbers, default=0)
    if len(names) != 1 or first > 1 or numbers != list(range(first, first + len(members))):
        found = ", ".join(PurePosixPath(member.path).name for member in members)
        raise ValueError(
            f"source {source!r}: found the parts {found}; wanted the parts of one file in their order, each once: "
            "NAME.part00, NAME.part01 and so on"
        )
    name = names.pop()
    if not is_file_name(name):
        raise ValueError(f"source {source!r}: {name!r} is no name of a file")
    return name


def _is_path(match: re.Match[str]) -> bool:
    return is_relative_path(match["path"].removesuffix("/"))
