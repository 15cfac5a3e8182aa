"""``overnight bench memory``: the estimate beside the measured peak, setting by setting."""

import re
from pathlib import Path

from pydantic import ValidationError
from rich.table import Table

from overnight.cli.console import console
from overnight.cli.fitting import find_model
from overnight.errors import UsageError
from overnight.memory.bench import BenchRow, bench_memory, worst
from overnight.memory.estimate import MIB, Place
from overnight.spec.model import EngineKind, ModelSpec
from overnight.store.files import write_json
from overnight.telemetry.environment import machine_identity


def show_memory_bench(
    model: str, held: str | None, settings: str | None, threads: int | None, path: Path | None
) -> None:
    """Measure, print a table, and write the numbers where that is asked for.

    Args:
        model: a name in ``config/models``, a GGUF file, or a folder.
        held: as a quantization, how transformers holds it; None for the engine that the model has.
        settings: as `read_settings` reads them; None for those of the engine.
        threads: of the engine; None for the physical cores.
        path: of the JSON file; None for none.

    Raises:
        UsageError: the settings cannot be read, the model cannot be found, or the file cannot be written.
    """
    chosen = read_settings(settings) if settings else None
    found = find_model(model)
    if held is not None:
        found = held_by_transformers(found, held)
    out = console()
    rows = []
    for row in bench_memory(found, chosen, threads=threads):
        rows.append(row)
        out.print(f"{row.slots} x {row.context_tokens}: {_percent(row.relative_error)}", highlight=False)
    if not rows:
        raise UsageError(f"{model} was trained for {found.context_tokens} tokens; give shorter --settings")
    out.print(_table(rows), highlight=False)
    largest = worst(rows, lambda row: row.relative_error)
    out.print(
        f"{found.name}, {found.engine.value}, {found.quantization}: largest error {_percent(largest)} over "
        f"{len(rows)} settings; measured is the most resident memory of the engine's process, mapped weights "
        "counted once",
        highlight=False,
        soft_wrap=True,
    )
    if path is not None:
        record = {
            "model": found.name,
            "engine": found.engine.value,
            "quantization": found.quantization,
            "machine": machine_identity(),
            "largest_relative_error": largest,
            "settings": [row.as_row() for row in rows],
        }
        try:
            write_json(path, record)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another --json") from None


def held_by_transformers(model: ModelSpec, held: str) -> ModelSpec:
    """Return a model as transformers holds it.

    Raises:
        UsageError: it does not hold any so.
    """
    changed = {"engine": EngineKind.TRANSFORMERS, "quantization": held, "dtype": None}
    try:
        return ModelSpec(**{name: getattr(model, name) for name in ModelSpec.model_fields} | changed)
    except ValidationError as error:
        raise UsageError(f"--held {held}: {error.errors()[0]['msg']}") from None


def read_settings(text: str) -> tuple[tuple[int, int], ...]:
    """Return (slots, context) pairs.

    Raises:
        UsageError: they are not written as ``1x512,4x2048``.
    """
    found = []
    for word in text.split(","):
        matched = re.fullmatch(r"\s*([1-9]\d*)x([1-9]\d*)\s*", word)
        if matched is None:
            raise UsageError(f"--settings: found {word!r}, wanted SLOTSxCONTEXT as in 1x512,4x2048")
        found.append((int(matched[1]), int(matched[2])))
    return tuple(found)


def _table(rows: list[BenchRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    has_device = any(row.estimate.on(Place.DEVICE) for row in rows)
    device = ("GPU estimate MiB", "GPU peak MiB", "GPU error") if has_device else ()
    for title in ("slots", "context", "estimate MiB", "peak MiB", "own MiB", "error", *device):
        table.add_column(title, justify="right")
    for row in rows:
        cells = [
            str(row.slots),
            str(row.context_tokens),
            _mib(row.estimate.on(Place.HOST)),
            _mib(row.peak.host_bytes),
            _mib(row.peak.host_anonymous_bytes),
            _percent(row.relative_error),
        ]
        if has_device:
            cells += [
                _mib(row.estimate.on(Place.DEVICE)),
                _mib(row.peak.device_bytes),
                _percent(row.device_error),
            ]
        table.add_row(*cells)
    return table


def _mib(n_bytes: int | None) -> str:
    return "unknown" if n_bytes is None else f"{n_bytes / MIB:,.1f}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:+.1f} %"
