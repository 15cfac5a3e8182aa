"""How much of a trial's prompts an engine need not read twice, from the requests as they were sent."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from overnight.planning.work import shared_bytes


class PromptBytes(NamedTuple):
    """Bytes of all prompts of a trial, and of these, what stands at the beginning of the prompt before."""

    total: int
    shared: int


def prompt_bytes(paths: Iterable[Path]) -> PromptBytes | None:
    """Return the bytes of the prompts in the files of a trial's requests; None where there are none.

    Raises:
        ValueError, KeyError: a line is not a request.
        OSError: a file cannot be read.
    """
    total = shared = 0
    before = b""
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for line in file:
                messages = json.loads(line)["body"]["messages"]
                text = "".join(message["content"] for message in messages).encode("utf-8", "replace")
                total += len(text)
                shared += shared_bytes(before, text)
                before = text
    return PromptBytes(total, shared) if total else None
