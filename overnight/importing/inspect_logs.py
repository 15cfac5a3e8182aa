"""Reading Inspect's logs, ``.eval`` and ``.json``: one file a task and model."""

import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from overnight.errors import UsageError
from overnight.importing.choosing import nearest
from overnight.importing.inspect_values import flattened, graded
from overnight.importing.logs import (
    IdentifyBy,
    LoggedItem,
    LogRow,
    SystemLog,
    content_key,
    excerpt,
    keyed,
    parsed_json,
)
from overnight.importing.zip_members import read_member

_WHAT = "a log of Inspect (.eval, or .json with eval and samples)"
_ATTACHMENT = "attachment://"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """A log and what its header says."""

    path: Path
    header: Mapping[str, Any]

    @property
    def task(self) -> str | None:
        """The task that was evaluated."""
        task = self.header["eval"].get("task")
        return None if task is None else str(task)


def find_log_files(paths: Sequence[Path], task: str | None) -> list[LogFile]:
    """Return the logs that some paths mean: files as they are, folders with all below them.

    Raises:
        UsageError: a path does not exist, a file is no log, nothing is found, or there is no such task.
    """
    files: dict[Path, LogFile] = {}
    for path in paths:
        if path.is_file():
            files[path.resolve()] = LogFile(path=path, header=_header(path))
        elif path.is_dir():
            found = sorted(file for pattern in ("*.eval", "*.json") for file in path.rglob(pattern))
            headers = {file: header for file in found if (header := _header_if_log(file)) is not None}
            if not headers:
                raise UsageError(f"{path}: no log of Inspect below it; wanted .eval or .json files")
            files |= {file.resolve(): LogFile(path=file, header=header) for file, header in headers.items()}
        else:
            raise UsageError(f"{path}: no such file or folder; wanted {_WHAT}, or a folder of logs")
    _require_different(list(files.values()))
    tasks = sorted({str(file.task) for file in files.values() if file.task})
    if task and task not in tasks:
        raise UsageError(f"--task {task}: {nearest(task, tasks, 'task')}")
    return [file for file in files.values() if task is None or file.task == task]


def read_log(file: LogFile, *, identify_by: IdentifyBy, is_partial_allowed: bool = False) -> SystemLog:
    """Return one log; the score of an item is the mean over its epochs that were scored.

    C, P, I and N count as 1, 0.5, 0 and 0, as in Inspect; a value that Inspect would warn about and count as 0
    makes its metric not numeric instead. Each key of a score with several values is a metric of its own:
    ``scorer.key``.

    Raises:
        UsageError: the evaluation did not end well, or the log is empty, damaged, or has a sample twice.
    """
    status = file.header.get("status")
    if status != "success" and not is_partial_allowed:
        raise UsageError(
            f"{file.path}: the evaluation's status is {status}; finish it with `inspect eval-retry`, "
            "or take what is there with --unfinished"
        )
    epochs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    items: dict[str, LogRow] = {}
    seen: set[tuple[str, Any]] = set()
    for sample in _samples(file.path):
        item_id, epoch = str(sample.get("id")), sample.get("epoch", 1)
        if (item_id, epoch) in seen:
            raise UsageError(f"{file.path}: sample {item_id} of epoch {epoch} stands twice; restore the file")
        seen.add((item_id, epoch))
        epochs[item_id].append(flattened(sample))
        if item_id not in items:
            items[item_id] = _log_row(sample, identify_by)
    if not items:
        raise UsageError(f"{file.path}: no sample in it; wanted {_WHAT}")
    rows, n_repeated = keyed(items.values())
    scores, not_numeric = _reduced({key: epochs[row.item.item_id] for key, row in rows.items()})
    return SystemLog(
        system=str(file.header["eval"].get("model") or file.path.stem),
        made=file.header["eval"].get("created"),
        source=file.path,
        task=file.task,
        identified_by="input and target" if identify_by is IdentifyBy.CONTENT else "id and target",
        items={key: row.item for key, row in rows.items()},
        scores=scores,
        not_numeric=not_numeric,
        notes=tuple(_notes(file, n_repeated)),
    )


def _header_if_log(path: Path) -> Mapping[str, Any] | None:
    """Return the header of a file in a folder, where other JSON files may lie too."""
    if path.suffix == ".eval":
        return _header(path)
    value = parsed_json(path.read_bytes(), str(path))
    return _without_samples(value) if _is_log(value) else None


def _header(path: Path) -> Mapping[str, Any]:
    if path.suffix != ".eval" and not zipfile.is_zipfile(path):
        value = parsed_json(path.read_bytes(), str(path))
        if not _is_log(value):
            raise UsageError(f"{path}: has no eval and samples; wanted {_WHAT}")
        return _without_samples(value)
    with _opened(path) as archive:
        names = set(archive.namelist())
        name = next((n for n in ("header.json", "_journal/start.json") if n in names), None)
        if name is None:
            raise UsageError(f"{path}: neither header.json nor _journal/start.json in it; wanted {_WHAT}")
        header = parsed_json(read_member(archive, path, name), f"{path}: {name}")
    if not isinstance(header, dict) or not isinstance(header.get("eval"), dict):
        raise UsageError(f"{path}: {name} has no eval; wanted {_WHAT}")
    return header if name == "header.json" else header | {"status": "started"}


def _is_log(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("eval"), dict) and "status" in value


def _without_samples(value: dict[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key in {"version", "status", "eval", "invalidated"}}


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise UsageError(f"{path}: not a zip archive, or cut off; wanted {_WHAT}") from None


def _samples(path: Path) -> Iterator[Mapping[str, Any]]:
    if zipfile.is_zipfile(path):
        with _opened(path) as archive:
            for name in archive.namelist():
                if name.startswith("samples/") and name.endswith(".json"):
                    yield _sample(parsed_json(read_member(archive, path, name), f"{path}: {name}"), path)
        return
    value = parsed_json(path.read_bytes(), str(path))
    for sample in value.get("samples") or ():
        yield _sample(sample, path)


def _sample(value: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, dict) or "id" not in value or "input" not in value:
        raise UsageError(f"{path}: a sample has no id or no input; wanted {_WHAT}")
    return value


def _log_row(sample: Mapping[str, Any], identify_by: IdentifyBy) -> LogRow:
    attachments = sample.get("attachments") or {}
    question = _plain(sample["input"], attachments)
    target = _plain(sample.get("target", ""), attachments)
    by_content = [question, target, sample.get("choices")]
    by_id = [str(sample["id"]), target]
    return LogRow(
        content=content_key(by_content if identify_by is IdentifyBy.CONTENT else by_id),
        item=LoggedItem(
            item_id=str(sample["id"]),
            text=excerpt(_text(question)),
            target=excerpt("; ".join(target) if isinstance(target, list) else str(target)),
        ),
        scores={},
    )


def _plain(value: Any, attachments: Mapping[str, str]) -> Any:
    """Return an input without what differs between two runs: the ids of its messages."""
    if isinstance(value, str):
        name = value.removeprefix(_ATTACHMENT)
        return attachments.get(name, value) if name != value else value
    if isinstance(value, list):
        return [_plain(part, attachments) for part in value]
    if isinstance(value, dict):
        kept = {"role", "content", "type", "text", "image", "audio", "video", "document"}
        return {key: _plain(part, attachments) for key, part in value.items() if key in kept and part}
    return value


def _text(question: Any) -> str:
    """Return what a person recognises the item by: the text, or that of the last message."""
    if isinstance(question, str):
        return question
    if isinstance(question, list) and question:
        return _text(question[-1])
    if isinstance(question, dict):
        return _text(question.get("content") or question.get("text") or "")
    return ""


def _reduced(
    epochs: Mapping[str, list[Mapping[str, Any]]],
) -> tuple[dict[str, dict[str, float | None]], dict[str, str]]:
    scores: dict[str, dict[str, float | None]] = {}
    not_numeric: dict[str, str] = {}
    metrics = dict.fromkeys(metric for values in epochs.values() for value in values for metric in value)
    for metric in metrics:
        try:
            scores[metric] = {
                key: _mean(graded(value.get(metric)) for value in values) for key, values in epochs.items()
            }
        except ValueError as error:
            not_numeric[metric] = str(error)
    return scores, not_numeric


def _mean(values: Iterator[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return fmean(defined) if defined else None


def _require_different(files: list[LogFile]) -> None:
    first: dict[str, Path] = {}
    for file in files:
        name = file.header["eval"].get("eval_id") or str(file.path)
        if name in first:
            raise UsageError(f"{file.path} and {first[name]} are one evaluation ({name}); name one of them")
        first[name] = file.path


def _notes(file: LogFile, n_repeated: int) -> Iterator[str]:
    if n_repeated:
        yield f"{file.path}: {n_repeated} items have the input and target of an earlier one"
    reducer = (file.header["eval"].get("config") or {}).get("epochs_reducer")
    if reducer and reducer != ["mean"]:
        yield f"{file.path}: epochs are averaged here; the log's own reducer is {', '.join(map(str, reducer))}"
    if file.header.get("invalidated"):
        yield f"{file.path}: somebody has marked samples of this log as invalid"
