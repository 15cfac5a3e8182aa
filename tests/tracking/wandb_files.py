"""What stands in an offline run of wandb: its log is that of LevelDB behind a header of its own, of protocol buffers.

The format of the log: https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = 32768
_RECORD_HEADER = struct.Struct("<IHB")  # checksum, length, type
_FILE_HEADER = 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """What `wandb sync` would send."""

    folder: Path
    run_id: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    project: str = ""
    entity: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    logged: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    def media(self, name: str) -> Path:
        """Return the file behind a logged table or image."""
        return self.folder / "files" / self.logged[f"{name}/path"]

    def table(self, name: str) -> tuple[list[str], list[list[Any]]]:
        """Return the columns and the rows of a logged table."""
        content = json.loads(self.media(name).read_text())
        return content["columns"], content["data"]


def offline_runs(folder: Path) -> list[OfflineRun]:
    """Return the offline runs in a folder in which wandb made its own."""
    return [read_offline_run(path) for path in sorted(folder.glob("wandb/offline-run-*"))]


def read_offline_run(folder: Path) -> OfflineRun:
    from wandb.proto import wandb_internal_pb2

    run = OfflineRun(folder)
    (log,) = folder.glob("run-*.wandb")
    for data in _records(log.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            for name in ("run_id", "job_type", "project", "entity"):
                setattr(run, name, getattr(record.run, name))
            run.group, run.name = record.run.run_group, record.run.display_name
            run.config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            for item in record.history.item:
                name = item.key or "/".join(item.nested_key)
                run.logged[name] = json.loads(item.value_json)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _records(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    at, whole = _FILE_HEADER, b""
    while at < len(data):
        if _BLOCK - at % _BLOCK < _RECORD_HEADER.size:  # the rest of a block that is too short for a header
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = _RECORD_HEADER.unpack_from(data, at)
        at += _RECORD_HEADER.size
        whole = (b"" if kind in (_FULL, _FIRST) else whole) + data[at : at + length]
        at += length
        if kind in (_FULL, _LAST):
            yield whole
