"""What stands in the pages that people read: blocks, commands, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_PROMPT = "$ "


@dataclass(frozen=True)
class Block:
    """What stands between two lines of backquotes."""

    page: Path
    line: int  # of its first line, from 1
    language: str
    text: str
    before: str  # the last line with something on it that stands before the block

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that a reader makes of it: named in its first line, or at the end of the line before it."""
        said = re.match(r"# (?:config/)?(\S+\.yaml)", self.text)
        before = re.search(r"`(\S+\.yaml)`:?$", self.before)
        found = said or before
        return found[1] if found else None


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        above = [line for line in text[: match.start()].splitlines() if line.strip()]
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(page, line, match[1], match[2], above[-1] if above else ""))
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the command lines of a block as words, without what stands before ``&&`` and after ``#``."""
    if block.language not in {"", "console"}:
        return
    for line in block.text.splitlines():
        for part in line.removeprefix(_PROMPT).split(" && "):
            if re.match(r"(overnight|prefect|python3?|pip|pytest|make)\b", part):
                yield shlex.split(part.removesuffix(" &"), comments=True)


def mentioned(page: Path) -> Iterator[list[str]]:
    """Yield what is named in the running text: commands, perhaps without their arguments."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for line in text.splitlines():
        of_line: list[str] = []
        for code in _CODE.findall(line):
            words = code.replace("...", "").split()
            if words[:1] == ["overnight"]:
                of_line = words
                yield words
            elif line.startswith("| `overnight ") and code in line.split("|")[1]:
                # A row of a table of commands goes on with others of its group: `cache ls`, `verify`.
                yield ["overnight", *words] if len(words) > 1 else [*of_line[:2], *words]


def links(page: Path) -> Iterator[str]:
    """Yield where the links of a page go."""
    yield from _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-") for title in titles}
