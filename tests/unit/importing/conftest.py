"""Logs in the shape that the tools write them, with questions of our own."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

DATE = "2026-03-04T05-06-07.123456"


def sample(doc_id: int, doc: Any = None, *, filter_name: str = "none", **metrics: Any) -> dict[str, Any]:
    """Return one line of lm_eval 0.4.13's samples, by its ``evaluator.py`` and ``evaluation_tracker.py``."""
    asked = {"question": f"Which number comes after {doc_id}?", "n": doc_id} if doc is None else doc
    return {
        "doc_id": doc_id,
        "doc": asked,
        "target": str(doc_id + 1),
        "arguments": {"gen_args_0": {"arg_0": f"Q: {doc_id}\nA:", "arg_1": {"until": ["\n"]}}},
        "resps": [["one"]],
        "filtered_resps": ["one"],
        "filter": filter_name,
        "metrics": list(metrics),
        "doc_hash": "0" * 64,
        "prompt_hash": "1" * 64,
        "target_hash": "2" * 64,
        **metrics,
    }


def old_sample(doc_id: int, **metrics: Any) -> dict[str, Any]:
    """Return a line as versions before hashes wrote it."""
    new = sample(doc_id, **metrics)
    return {
        key: value
        for key, value in new.items()
        if not key.endswith("_hash") and key not in {"metrics", "filter"}
    }


@pytest.fixture
def lm_sample() -> Callable[..., dict[str, Any]]:
    return sample


@pytest.fixture
def old_lm_sample() -> Callable[..., dict[str, Any]]:
    return old_sample


@pytest.fixture
def write_samples(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a model's folder."""

    def write(
        model: str, rows: Sequence[Mapping[str, Any]], *, task: str = "counting", results: Any = None
    ) -> Path:
        path = tmp_path / "logs" / model / f"samples_{task}_{DATE}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        if results is not None:
            path.with_name(f"results_{DATE}.json").write_text(json.dumps(results))
        return path

    return write


def inspect_sample(item_id: Any, epoch: int, **scores: Any) -> dict[str, Any]:
    """Return a sample as Inspect 0.3.285 writes it; the ids of messages differ from run to run."""
    return {
        "id": item_id,
        "epoch": epoch,
        "input": [
            {"id": f"m{item_id}{epoch}{id(scores)}", "role": "user", "content": f"What follows {item_id}?"}
        ],
        "target": "four",
        "messages": [],
        "scores": {name: {"value": value, "answer": "x", "history": []} for name, value in scores.items()},
        "metadata": {},
        "attachments": {},
    }


def inspect_log(
    samples: Sequence[Mapping[str, Any]], *, model: str = "m/one", **header: Any
) -> dict[str, Any]:
    """Return a whole log."""
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": f"e-{model}",
            "created": "2026-03-04T05:06:07+00:00",
            "task": "counting",
            "model": model,
            "config": {"epochs": 1},
        },
        "samples": list(samples),
        **header,
    }


@pytest.fixture
def log_sample() -> Callable[..., dict[str, Any]]:
    return inspect_sample


@pytest.fixture
def make_log() -> Callable[..., dict[str, Any]]:
    return inspect_log


@pytest.fixture
def write_eval(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a log as ``.eval``, deflated or in Zstandard frames."""

    def write(name: str, log: Mapping[str, Any], *, is_zstandard: bool = False) -> Path:
        members = {"header.json": {key: value for key, value in log.items() if key != "samples"}}
        members |= {f"samples/{one['id']}_epoch_{one['epoch']}.json": one for one in log["samples"]}
        path = tmp_path / f"{name}.eval"
        texts = {member: json.dumps(value).encode() for member, value in members.items()}
        path.write_bytes(_zstandard_zip(texts) if is_zstandard else _deflated_zip(texts))
        return path

    return write


def _deflated_zip(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _zstandard_zip(members: Mapping[str, bytes]) -> bytes:
    """Return an archive of method 93, two frames a member, written field by field (PKWARE APPNOTE 4.3)."""
    packer = zstandard.ZstdCompressor()
    body, directory = b"", b""
    for name, content in members.items():
        half = len(content) // 2
        packed = packer.compress(content[:half]) + packer.compress(content[half:])
        sizes = zlib.crc32(content), len(packed), len(content)
        common = struct.pack("<HHHHHIIIHH", 63, 0, 93, 0, 0, *sizes, len(name), 0)
        directory += (
            b"PK\x01\x02"
            + struct.pack("<H", 63)
            + common
            + struct.pack("<HHHII", 0, 0, 0, 0, len(body))
            + name.encode()
        )
        body += b"PK\x03\x04" + common + name.encode() + packed
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end
