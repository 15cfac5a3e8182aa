import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overnight.datasets.reading import read_items
from overnight.errors import UsageError
from overnight.records import Item
from overnight.spec.dataset import DatasetSpec

Write = Callable[..., DatasetSpec]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a writer of a dataset's file: bytes, text, or a value that becomes JSON."""

    def made(form: str, content: Any, name: str = "d.txt", **fields: Any) -> DatasetSpec:
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        (tmp_path / name).write_bytes(content)
        return DatasetSpec(name="d", format=form, path=tmp_path / name, **fields)

    return made


@pytest.fixture
def read(write: Write) -> Callable[..., list[Item]]:
    """Return a reader of what was just written."""
    return lambda *args, **fields: read_items(write(*args, **fields))


@pytest.fixture
def refusal(write: Write) -> Callable[..., str]:
    """Return a reader that fails, and the message without the folder."""

    def message(*args: Any, **fields: Any) -> str:
        spec = write(*args, **fields)
        with pytest.raises(UsageError) as caught:
            read_items(spec)
        said = str(caught.value)
        assert "\n" not in said
        return said.replace(str(spec.path), str(spec.path and spec.path.name))

    return message
