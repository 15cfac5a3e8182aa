"""What logs say that no number says: that memory ran out, and that a process was killed.

A killed engine leaves no typed error behind; its log and the run's are all there is.
"""

import re
from collections.abc import Iterator
from pathlib import Path

_OUT_OF_MEMORY = re.compile(
    r"OutOfMemory|out of memory|does not fit into memory|failed to allocate|cannot allocate memory|bad_alloc",
    re.IGNORECASE,
)
_KILLED = re.compile(
    r"SIGKILL|signal 9\b|exit (?:code|status) (?:-9|137)\b|oom-kill|killed process", re.IGNORECASE
)
_MOST_LINES = 20  # of each file: the first ones say it
_MOST_CHARACTERS = 200
_TAIL_BYTES = 4096


def sign_of(text: str) -> str | None:
    """Return ``killed`` or ``out of memory`` where a text says so, None where it does not."""
    if _KILLED.search(text):
        return "killed"
    return "out of memory" if _OUT_OF_MEMORY.search(text) else None


def signs_in(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ``out of memory`` or ``killed`` with ``file:line: text`` for the lines that say so.

    Raises:
        OSError: the file is there and cannot be read.
    """
    if not path.is_file():
        return
    n_found = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            kind = (
                "killed" if _KILLED.search(line) else "out of memory" if _OUT_OF_MEMORY.search(line) else None
            )
            if kind is not None:
                yield kind, f"{path.name}:{number}: {line.strip()[:_MOST_CHARACTERS]}"
                n_found += 1
                if n_found == _MOST_LINES:
                    return


def last_words(path: Path) -> str | None:
    """Return the last line of a log that says anything; None where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:_MOST_CHARACTERS] if said else None
