"""A trait shown by texts: some that have it, some that lack it, line by line in two files of a folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from overnight.errors import UsageError
from overnight.ids import digest
from overnight.spec.reading import read_text

POSITIVE, NEGATIVE, DEFINITION = "positive.txt", "negative.txt", "definition.txt"
_FEWEST = 2  # of each side: a difference of two single texts says nothing of a trait


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastiveSet:
    """Texts that show a trait and texts that do not; where paired, the two at one place share all else."""

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    definition: str | None
    digest: str  # of the texts, their order and their pairing; neither of the name nor of the definition
    is_paired: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts, the positive ones first."""
        return self.positive + self.negative


@dataclass(frozen=True, slots=True)
class _Line:
    at: str
    text: str  # empty: a blank line


def read_contrastive_set(folder: Path, *, may_be_unpaired: bool = False) -> ContrastiveSet:
    """Read a set from ``positive.txt``, ``negative.txt`` and, where there is one, ``definition.txt``.

    A line is a text; spaces around it are not part of it. Line n of one file and line n of the other are a pair: a
    line that is blank in both separates pairs, and one that is blank in one file only is an error, since whatever
    follows could be meant either way.

    Args:
        folder: its name is the trait's.
        may_be_unpaired: whether files of unequal length are read as a set without pairs, and not refused. Files of
            equal length are pairs all the same.

    Raises:
        UsageError: a file is missing, empty or not UTF-8; the files are of unequal length or a line of one has no
            fellow, unless that may be; a text stands twice, in one file or in both.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; a contrastive set is one with {POSITIVE} and {NEGATIVE}")
    files = [_lines(folder / name) for name in (POSITIVE, NEGATIVE)]
    for name, found in zip((POSITIVE, NEGATIVE), files, strict=True):
        n_texts = sum(bool(line.text) for line in found)
        if n_texts < _FEWEST:
            raise UsageError(
                f"{folder / name}: found {n_texts} texts, wanted at least {_FEWEST}, one on each line"
            )
    is_paired = len(files[0]) == len(files[1])
    if not is_paired and not may_be_unpaired:
        raise UsageError(
            f"{folder}: {POSITIVE} ends on line {len(files[0])} and {NEGATIVE} on line {len(files[1])}; "
            "line n of both is a pair, so add what is missing, or allow the set to be unpaired"
        )
    if is_paired:
        _require_fellows(folder, files)
    _require_distinct(files)
    positive, negative = (tuple(line.text for line in found if line.text) for found in files)
    return contrastive_set(
        folder.resolve().name,
        positive,
        negative,
        definition=_definition(folder / DEFINITION),
        is_paired=is_paired,
    )


def contrastive_set(
    name: str,
    positive: tuple[str, ...],
    negative: tuple[str, ...],
    *,
    definition: str | None = None,
    is_paired: bool,
) -> ContrastiveSet:
    """Return a set of texts that are already at hand, e.g. replies that a judge kept.

    Raises:
        ValueError: it is said to be paired, and its sides are of unequal length.
    """
    if is_paired and len(positive) != len(negative):
        raise ValueError(f"{len(positive)} positive and {len(negative)} negative texts are no pairs")
    identity = {"positive": positive, "negative": negative, "is_paired": is_paired}
    return ContrastiveSet(
        name=name,
        positive=positive,
        negative=negative,
        definition=definition,
        digest=digest(identity),
        is_paired=is_paired,
    )


def _lines(path: Path) -> list[_Line]:
    """Return a file's lines; blank ones at its end are none."""
    texts = [line.strip() for line in read_text(path, "a text on each line").split("\n")]
    while texts and not texts[-1]:
        texts.pop()
    return [_Line(f"{path}:{number}", text) for number, text in enumerate(texts, start=1)]


def _require_fellows(folder: Path, files: list[list[_Line]]) -> None:
    for one, other in zip_longest(*files):
        if bool(one.text) != bool(other.text):
            blank, full = (other, one) if one.text else (one, other)
            raise UsageError(
                f"{blank.at}: a blank line where {Path(full.at).name} of {folder.name} has a text; "
                "line n of both files is a pair, so fill the line, or take both out"
            )


def _require_distinct(files: list[list[_Line]]) -> None:
    first: dict[str, str] = {}
    for side, found in enumerate(files):
        for line, key in _keys(found):
            if key not in first:
                first[key] = line.at
                continue
            is_other = side == 1 and first[key].rpartition(":")[0] != line.at.rpartition(":")[0]
            raise UsageError(
                f"{line.at}: the text of {first[key]} "
                + ("stands on both sides; a text shows the trait or it does not" if is_other else "again")
                + ", so take one out"
            )


def _keys(lines: list[_Line]) -> Iterator[tuple[_Line, str]]:
    """Yield texts with what makes them the same: all but the width of the spaces between words."""
    return ((line, " ".join(line.text.split())) for line in lines if line.text)


def _definition(path: Path) -> str | None:
    if not path.exists():
        return None
    return read_text(path, "the definition of a trait").strip() or None
