"""Prompts: text, one a line; lines that begin with # say what they are for."""

from collections.abc import Iterator
from pathlib import Path

from overnight.datasets.files import text_lines
from overnight.datasets.rows import Row, clean_text
from overnight.spec.dataset import DatasetSpec


def read_prompts(_: DatasetSpec, path: Path) -> Iterator[Row]:
    """Yield the prompts of a file; their ids are made of what they say, so that an edit moves no other one.

    Raises:
        UsageError: the file cannot be read, or is not UTF-8.
    """
    for number, line in text_lines(path):
        prompt = clean_text(line)
        if prompt and not prompt.startswith("#"):
            yield Row(place=number, item_id=None, question=prompt, answers=())
