"""``index.json``: which tensors the files of a trial's sequences hold, so that nobody has to open them to know."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from overnight.captures.lines import CaptureLine
from overnight.captures.reading import open_sequence
from overnight.errors import StoreError
from overnight.file_names import RelativePath
from overnight.ids import file_digest
from overnight.spec.base import Digest, Spec
from overnight.store.files import read_json, write_json

AGAIN: Final = "run `overnight report` to write it again"


class TensorEntry(Spec):
    """A tensor of a file."""

    dtype: str
    shape: tuple[int, ...]


class FileEntry(Spec):
    """The file of a sequence."""

    prompt_id: str
    path: RelativePath  # in the folder of the run
    sha256: Digest
    bytes: int
    n_prompt: int
    n_tokens: int
    tensors: dict[str, TensorEntry]


class CaptureIndex(Spec):
    """``index.json``."""

    schema_version: Literal[1] = 1
    files: tuple[FileEntry, ...]


def write_index(path: Path, run: Path, lines: Iterable[CaptureLine]) -> None:
    """Write the index of a trial's files; prompts that failed are left out.

    Raises:
        StoreError: a file is missing, damaged or of another making.
    """
    index = CaptureIndex(files=tuple(_entry(run, line) for line in lines if line.path is not None))
    write_json(path, index.model_dump(mode="json"))


def read_index(path: Path) -> CaptureIndex:
    """Return an index.

    Raises:
        StoreError: it is missing, or lacks something.
    """
    try:
        return CaptureIndex.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise StoreError(f"{path}: {key}: {problem['msg']}; {AGAIN}") from None


def _entry(run: Path, line: CaptureLine) -> FileEntry:
    path = run / str(line.path)
    file = open_sequence(path)
    return FileEntry(
        prompt_id=line.prompt_id,
        path=str(line.path),
        sha256=file_digest(path),
        bytes=path.stat().st_size,
        n_prompt=int(file.metadata["n_prompt"]),
        n_tokens=file.tensors["token_ids"].shape[0],
        tensors={
            name: TensorEntry(dtype=facts.dtype, shape=facts.shape) for name, facts in file.tensors.items()
        },
    )
