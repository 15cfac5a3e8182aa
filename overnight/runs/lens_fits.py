"""Fitting a lens, or finding it fitted: kept by what it was made from, gone on with where it was interrupted."""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any, Final

from overnight.datasets.reading import Tally, iterate_items
from overnight.engines.deaths import MemoryWatch
from overnight.engines.sources import fetch
from overnight.errors import (
    EngineCrashed,
    EngineError,
    GpuUnusable,
    OutOfMemory,
    StopRequested,
    StoreError,
    UsageError,
)
from overnight.ids import digest
from overnight.lens.folder import (
    KIND,
    LensDescription,
    data_identity,
    lens_identity,
    read_lens,
    with_named_datasets,
)
from overnight.memory.free import free_devices
from overnight.planning.identity import weights_identity
from overnight.processes import apart, end_child
from overnight.spec.dataset import DatasetSpec
from overnight.spec.execution import Execution
from overnight.spec.lens import LensSpec
from overnight.spec.model import EngineKind, ModelSpec
from overnight.store.content_store import ContentStore, cache_folder
from overnight.store.files import atomic_writer
from overnight.telemetry.cores import physical_cores

_MODULE: Final = "overnight.lens.fitting"
_WORK: Final = "lens_fits"  # beside the lenses: what a fit that was interrupted goes on from
_MOST_TOKENS: Final = 2048  # of a text; the rest is not read
_LOOK_S: Final = 0.2
_REFUSALS: Final = {
    each.__name__: each
    for each in (OutOfMemory, GpuUnusable, UsageError, StoreError, EngineError, EngineCrashed)
}

Told = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LensFitted:
    """A fitted lens, and where it is."""

    folder: Path
    described: LensDescription
    was_cached: bool
    seconds: float


def fitted_lens(lens: LensSpec, model: ModelSpec) -> Path:
    """Return the folder of a lens that is fitted by its `fit`.

    Args:
        lens: resolved.
        model: with its digest.

    Raises:
        UsageError: it was not fitted to this model yet.
    """
    entry = ContentStore(cache_folder(), KIND).find(lens_identity(lens, model, _datasets(lens)))
    if entry is None:
        raise UsageError(
            f"lens {lens.name}: it is not fitted to {model.name} yet; fit it with "
            f"`overnight fit-lens {lens.name} --model {model.name}`"
        )
    return entry.path


def fit_lens(
    lens: LensSpec,
    model: ModelSpec,
    execution: Execution,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Told = lambda _: None,
) -> LensFitted:
    """Fit a lens to a model, or find it fitted; what was interrupted is gone on with.

    Args:
        lens: resolved, with a `fit`.
        model: with its digest; of the transformers engine.
        execution: device, threads and limits.
        should_stop: looked at several times a second.
        on_progress: told of each measurement (``step``, ``loss``, ``held_out_loss``) and how far the rest is
            (``stage``, ``done``, ``of``), with ``seconds`` since it began.

    Raises:
        UsageError: the lens has no `fit`, or there is nothing to fit it on.
        StopRequested: somebody asked to stop; it goes on from here the next time.
        OutOfMemory: not even one text at a time fits.
        GpuUnusable, EngineCrashed: the process could not do it.
    """
    _require_fittable(lens, model)
    began = time.monotonic()
    identity = lens_identity(lens, model, _datasets(lens))
    key = digest(identity)
    store = ContentStore(cache_folder(), KIND)
    if found := store.find(identity):
        return LensFitted(
            folder=found.path,
            described=read_lens(found.path),
            was_cached=True,
            seconds=time.monotonic() - began,
        )
    work = cache_folder() / _WORK / key[:2] / key

    def build(out: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        _write_texts(work / "texts.jsonl", lens)
        settings = _settings(lens, model, execution, work, out)
        _run(settings, work / "fitting.log", model, should_stop, _timed(on_progress, began))
        _draw_losses(out)

    entry = store.get_or_build(identity, build)
    _remove(work)
    return LensFitted(
        folder=entry.path,
        described=read_lens(entry.path),
        was_cached=entry.was_cached,
        seconds=time.monotonic() - began,
    )


def _require_fittable(lens: LensSpec, model: ModelSpec) -> None:
    if lens.fit is None:
        raise UsageError(f"lens {lens.name}: it is a folder already ({lens.path}); there is nothing to fit")
    if model.engine is not EngineKind.TRANSFORMERS:
        raise UsageError(
            f"model {model.name}: found engine {model.engine.value}; lenses need the states of a model, which engine "
            "transformers shows"
        )


def _datasets(lens: LensSpec) -> list[DatasetSpec]:
    """Return what a lens learns from; of a resolved lens they are no names any more."""
    found: Sequence[str | DatasetSpec] = lens.fit.datasets if lens.fit is not None else ()
    datasets = [each for each in found if isinstance(each, DatasetSpec)]
    if len(datasets) < len(found):
        raise TypeError(f"lens {lens.name}: a dataset is still a name; resolve it first")
    return datasets


def _write_texts(path: Path, lens: LensSpec) -> None:
    """Write the texts of a fit, in the order of their datasets, a line each."""
    assert lens.fit is not None  # noqa: S101 - checked when the fit was asked for
    n_texts = 0
    with atomic_writer(path) as file:
        for dataset in _datasets(lens):
            for item in iterate_items(dataset, Tally()):
                if item.turns:
                    raise UsageError(
                        f"lens {lens.name}: fit.datasets: {dataset.name} has conversations; wanted texts (format texts)"
                    )
                if n_texts == lens.fit.limit_items:
                    return
                file.write(json.dumps({"text": item.question}) + "\n")
                n_texts += 1


def _settings(
    lens: LensSpec, model: ModelSpec, execution: Execution, work: Path, out: Path
) -> dict[str, Any]:
    engine = execution.engine
    transformers = engine.transformers
    return {
        "model_path": str(fetch(model).path),
        **model.held(),
        "device": transformers.device,
        "attention": transformers.attention,
        "gpus_there": [device.name for device in free_devices()],
        "may_offload": engine.cpu_offload == "allow",
        "threads": engine.threads or physical_cores(),
        "memory_limit_bytes": engine.memory_limit_bytes,
        "context_tokens": min(model.context_tokens, _MOST_TOKENS),
        "work": str(work),
        "out": str(out),
        "texts": str(work / "texts.jsonl"),
        "lens": with_named_datasets(lens).model_dump(mode="json"),
        "model": model.name,
        "model_digest": digest(weights_identity(model)),
        "data_digest": digest(data_identity(_datasets(lens))),
    }


def _run(
    settings: dict[str, Any], log: Path, model: ModelSpec, should_stop: Callable[[], bool], told: Told
) -> None:
    """Have a process of its own fit the lens."""
    with _fitting_process(log) as process, _memory_watched() as memory:
        lines = _lines_of(process)
        assert process.stdin is not None  # noqa: S101 - narrows a type
        with contextlib.suppress(BrokenPipeError):  # it is dead already; what it printed says why
            process.stdin.write(json.dumps(settings) + "\n")
            process.stdin.flush()
        while True:
            if should_stop():
                raise StopRequested(
                    f"{settings['lens']['name']} is not fitted yet; it goes on from here the next time"
                )
            try:
                line = lines.get(timeout=_LOOK_S)
            except Empty:
                continue
            if line is None:
                break
            message = json.loads(line)
            if "refused" in message:
                raise _REFUSALS.get(message["refused"], EngineError)(message["message"])
            if "fitted" in message:
                return
            told(message)
        code = process.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    if why := memory.why_out_of_memory(code, said):
        raise OutOfMemory(f"{model.name} does not fit into memory while a lens learns: {why}; see {log}")
    last = [row for row in said.splitlines() if row.strip()] or [f"exit code {code}"]
    raise EngineCrashed(f"the lens of {model.name} could not be fitted: {last[-1].strip()}; see {log}")


@contextlib.contextmanager
def _fitting_process(log: Path) -> Iterator["subprocess.Popen[str]"]:
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            **apart(),  # Ctrl-C is for us
        )
    try:
        yield process
    finally:
        end_child(process)


@contextlib.contextmanager
def _memory_watched() -> Iterator[MemoryWatch]:
    memory = MemoryWatch()
    memory.start()
    try:
        yield memory
    finally:
        memory.stop()


def _lines_of(process: "subprocess.Popen[str]") -> "Queue[str | None]":
    """Return what a process prints, line by line, and None at its end."""
    lines: Queue[str | None] = Queue()

    def read(stream: IO[str]) -> None:
        with contextlib.suppress(ValueError):  # closed while it was read
            for line in stream:
                lines.put(line)
        lines.put(None)

    assert process.stdout is not None  # noqa: S101 - narrows a type
    threading.Thread(target=read, args=(process.stdout,), name="lens fit", daemon=True).start()
    return lines


def _timed(told: Told, began: float) -> Told:
    return lambda message: told(message | {"seconds": round(time.monotonic() - began, 1)})


def _draw_losses(folder: Path) -> None:
    """Draw the curve of the losses, where there is one."""
    path = folder / "losses.csv"
    if path.is_file():
        from overnight.report.loss_figure import draw_losses  # noqa: PLC0415 - imports matplotlib

        draw_losses(path, folder)


def _remove(work: Path) -> None:
    """Take away what a fit that is done was gone on from."""
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=work.parent, prefix=".done-") as gone:
        work.rename(Path(gone) / work.name)
