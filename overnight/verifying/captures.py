"""The files of a capture against their schemas."""

from pathlib import Path
from typing import Final

from overnight.captures.directions import AGAIN as VECTORS_AGAIN
from overnight.captures.directions import read_directions
from overnight.captures.index import AGAIN as INDEX_AGAIN
from overnight.captures.index import read_index
from overnight.captures.lines import AGAIN as LINES_AGAIN
from overnight.captures.lines import CaptureLine, read_lines
from overnight.captures.reading import AGAIN as SEQUENCE_AGAIN
from overnight.captures.reading import check_large, read_prompt
from overnight.captures.summary import COLUMNS
from overnight.captures.table import check_projections, n_rows_of
from overnight.captures.validity import read_superposition, read_validity
from overnight.errors import StoreError
from overnight.ids import file_digest
from overnight.runs.tables import read_table
from overnight.store.run_folder import RunFolder, TrialFolder
from overnight.verifying.finding import Check, Finding, finding_of

LINES: Final = "captures.jsonl"
_TABLE_AGAIN: Final = "run `overnight report` to write it again"


def check_captures(folder: RunFolder, slugs: list[str]) -> Check:
    """Check every file of the captures of a run; each is read once, one prompt at a time."""
    check = Check()
    sequences: dict[str, int | None] = {}  # path -> rows in a table of projections; None: damaged
    for slug in slugs:
        _check_trial(folder, folder.trial(slug), check, sequences)
    for path in sorted((folder.path / "vectors").glob("*/*")):
        _check_vectors(folder.path, path, check)
    return check


def _check_trial(
    folder: RunFolder, trial: TrialFolder, check: Check, sequences: dict[str, int | None]
) -> None:
    path = trial.results / LINES
    if not path.exists():
        return
    lines: list[CaptureLine] = []
    try:
        lines.extend(read_lines(path))
    except StoreError as error:
        check.findings.append(_finding(folder.path, path, error, "a line a prompt", LINES_AGAIN))
    check.files.add(_name(folder.path, path))
    for line in lines:
        if line.path is not None and line.path not in sequences:
            sequences[line.path] = _check_sequence(folder.path, line, check)
    captured = [line for line in lines if line.path is not None]
    table = trial.results / "projections.parquet"
    if table.exists():
        known = [sequences[str(line.path)] for line in captured]
        n_wanted = None if None in known else sum(n for n in known if n is not None)
        _check_table(folder.path, table, n_wanted, check)
    summary = trial.results / "summary.csv"
    if summary.exists():
        check.files.add(_name(folder.path, summary))
        try:
            for _ in read_table(summary, COLUMNS, COLUMNS):
                pass
        except StoreError as error:
            check.findings.append(
                _finding(folder.path, summary, error, "a row a prompt, trait and point", _TABLE_AGAIN)
            )
    index = trial.results / "index.json"
    if index.exists():
        _check_index(folder.path, index, captured, check)


def _check_sequence(run: Path, line: CaptureLine, check: Check) -> int | None:
    path = run / str(line.path)
    check.files.add(str(line.path))
    try:
        prompt = read_prompt(run, line)
        check_large(prompt.file)
    except StoreError as error:
        check.findings.append(_finding(run, path, error, "the file of a sequence", SEQUENCE_AGAIN))
        return None
    return n_rows_of(prompt)


def _check_table(run: Path, path: Path, n_wanted: int | None, check: Check) -> None:
    from pyarrow import ArrowException, parquet  # noqa: PLC0415 - runs of other kinds do without

    name = _name(run, path)
    check.files.add(name)
    try:
        problems = check_projections(path)
        n_rows = parquet.read_metadata(path).num_rows
    except (OSError, ArrowException) as error:
        problems, n_rows = (
            [(f"no whole Parquet file ({' '.join(str(error).split())})", "a Parquet file")],
            None,
        )
    if not problems and n_wanted is not None and n_rows != n_wanted:
        problems = [(f"{n_rows:,} rows", f"{n_wanted:,}, a row a token, point and trait of each prompt")]
    check.findings += [
        Finding(file=name, found=found, wanted=wanted, remedy=_TABLE_AGAIN) for found, wanted in problems
    ]


def _check_index(run: Path, path: Path, captured: list[CaptureLine], check: Check) -> None:
    name = _name(run, path)
    check.files.add(name)
    try:
        index = read_index(path)
    except StoreError as error:
        check.findings.append(_finding(run, path, error, "an index of files", INDEX_AGAIN))
        return
    listed = {entry.prompt_id: entry for entry in index.files}
    ids = {line.prompt_id for line in captured}
    if listed.keys() != ids:
        other = sorted(listed.keys() ^ ids)[0]
        where = "not in captures.jsonl" if other in listed else "not in the index"
        check.findings.append(
            Finding(
                file=name, found=f"prompt {other!r} is {where}", wanted="the same prompts", remedy=INDEX_AGAIN
            )
        )
    for entry in index.files:
        file = run / entry.path
        if file.is_file() and file_digest(file) != entry.sha256:
            check.findings.append(
                Finding(
                    file=entry.path,
                    found="another digest than in index.json",
                    wanted=f"sha256 {entry.sha256[:12]}\u2026",
                    remedy=SEQUENCE_AGAIN,
                )
            )


def _check_vectors(run: Path, path: Path, check: Check) -> None:
    readers = {
        "directions.safetensors": read_directions,
        "validity.json": read_validity,
        "superposition.csv": read_superposition,
    }
    read = readers.get(path.name)
    if read is None:
        return
    check.files.add(_name(run, path))
    try:
        read(path)
    except StoreError as error:
        check.findings.append(_finding(run, path, error, "what an extraction writes", VECTORS_AGAIN))


def _finding(run: Path, path: Path, error: StoreError, wanted: str, remedy: str) -> Finding:
    return finding_of(run, error, file=_name(run, path), wanted=wanted, remedy=remedy)


def _name(run: Path, path: Path) -> str:
    return path.relative_to(run).as_posix()
