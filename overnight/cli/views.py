"""Looking at runs and models: nothing here changes a result."""

import contextlib
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from overnight.cli.console import console
from overnight.errors import OvernightError, StoreError
from overnight.spec.config_root import ConfigRoot
from overnight.store.files import read_object
from overnight.store.journal import is_done, read_rows
from overnight.store.manifest import RunManifest, TrialState, read_manifest
from overnight.store.run_folder import RunFolder, find_run, list_runs
from overnight.store.run_lock import is_locked, run_lock


def show_runs(experiments: Path, *, as_json: bool) -> None:
    """Print the runs of a folder, oldest first."""
    rows = [_run_row_or_damage(folder) for folder in list_runs(experiments)]
    if as_json:
        _print_json(rows)
        return
    if not rows:
        print(f"no runs in {experiments}")  # noqa: T201 - the terminal is our output
        return
    _print_table(rows, ("run", "name", "state", "trials", "draws", "created"))


def show_run(experiments: Path, run: str, *, as_json: bool) -> None:
    """Print one run, trial by trial; a run that is going on is counted from its journals."""
    folder = find_run(experiments, run)
    manifest = read_manifest(folder)
    plan = read_object(folder.plan)
    try:
        expected = {t["slug"]: t["n_requests"] for block in plan["blocks"] for t in block["trials"]}
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{folder.plan}: not a plan ({type(error).__name__}: {error}); resume the run"
        ) from None
    rows = [_trial_row(folder, manifest, slug, expected.get(slug)) for slug in manifest.trials]
    if as_json:
        _print_json({**_run_row(folder), "path": str(folder.path), "trials": rows})
        return
    out = console()
    head = _run_row(folder)
    out.print(f"run {head['run']}: {head['state']}", highlight=False)
    out.print(f"in {folder.path}", highlight=False, soft_wrap=True)
    _print_table(rows, ("trial", "state", "draws", "cached", "errors", "error"))
    for path in (folder.aggregate_report, folder.html_report):
        if path.is_file():
            out.print(f"report {path}", highlight=False, soft_wrap=True)


def stop_run(experiments: Path, run: str) -> None:
    """Ask a run to stop."""
    folder = find_run(experiments, run)
    if not is_locked(folder):
        print(f"run {folder.run_id} is not going on; nothing to stop")  # noqa: T201
        return
    folder.stop_request.touch()
    print(f"asked run {folder.run_id} to stop; `overnight resume {folder.run_id}` goes on with it")  # noqa: T201


def rebuild_report(experiments: Path, run: str) -> None:
    """Write the reports of a run again."""
    # What reports are made with takes seconds to load, and listing, showing and stopping runs have no use for it.
    from overnight.report.reading import CAPTURE, UNCERTAINTY  # noqa: PLC0415
    from overnight.report.writing import write_reports  # noqa: PLC0415
    from overnight.runs.ending import seal_reports  # noqa: PLC0415

    folder = find_run(experiments, run)
    with run_lock(folder):
        if read_manifest(folder).kind == UNCERTAINTY:
            from overnight.report.uncertainty.files import write_files_again  # noqa: PLC0415

            # A table that is damaged is named in the report.
            with contextlib.suppress(OvernightError):
                write_files_again(folder)
        if read_manifest(folder).kind == CAPTURE:
            from overnight.report.capture.files import write_capture_files_again  # noqa: PLC0415

            write_capture_files_again(folder)
        else:
            write_reports(folder)
        seal_reports(folder)
    print(folder.aggregate_report)  # noqa: T201
    print(folder.html_report)  # noqa: T201


def show_models(*, as_json: bool) -> None:
    """Print the models that can be named from here."""
    root = ConfigRoot(Path("config"))
    rows: list[dict[str, Any]] = [root.model(name).model_dump(mode="json") for name in root.names("models")]
    if as_json:
        _print_json(rows)
    else:
        _print_table(rows, ("name", "engine", "family", "params_billion", "quantization", "context_tokens"))


def _run_row_or_damage(folder: RunFolder) -> dict[str, Any]:
    """Return a run's row; a run whose files cannot be read does not hide the others."""
    try:
        return _run_row(folder)
    except StoreError as error:
        unknown = dict.fromkeys(("name", "trials", "draws", "created"))
        return {"run": folder.run_id, **unknown, "state": f"damaged: {error}"}


def _run_row(folder: RunFolder) -> dict[str, Any]:
    manifest = read_manifest(folder)
    done = sum(trial.state is TrialState.DONE for trial in manifest.trials.values())
    return {
        "run": folder.run_id,
        "name": manifest.name,
        "state": _state(folder, manifest),
        "trials": f"{done}/{len(manifest.trials)}",
        "draws": sum(_n_done(folder, slug) for slug in manifest.trials),
        "created": f"{manifest.created:%Y-%m-%d %H:%M} UTC",
    }


def _state(folder: RunFolder, manifest: RunManifest) -> str:
    """Return a run's state; one that says it runs while nobody holds it was killed."""
    if manifest.state is TrialState.RUNNING and not is_locked(folder):
        return f"interrupted; go on with `overnight resume {folder.run_id}`"
    return manifest.state.value


def _trial_row(folder: RunFolder, manifest: RunManifest, slug: str, expected: int | None) -> dict[str, Any]:
    record = manifest.trials[slug]
    expected = record.counts.expected or expected  # what was planned may be an upper bound
    return {
        "trial": slug,
        "state": record.state.value,
        "draws": f"{_n_done(folder, slug)}/{expected if expected is not None else '?'}",
        "cached": record.counts.cache_hits,
        "errors": record.counts.errors,
        "error": record.error,
    }


def _n_done(folder: RunFolder, slug: str) -> int:
    return len({row["custom_id"] for row in read_rows(folder.trial(slug).journal) if is_done(row)})


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))  # noqa: T201


def _print_table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    console().print(table, highlight=False)
