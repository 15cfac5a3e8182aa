"""The scripts in ``benchmarks/`` as commands: they are found by what they say of themselves, and run one by one."""

import ast
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from overnight.cli.console import console
from overnight.errors import NotMeasured, UsageError

_FOLDER = Path(__file__).parents[2] / "benchmarks"
_MARK = "BENCHMARK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A script that measures something: it takes ``--quick``, ``--out FILE.json`` and options of its own."""

    name: str
    measures: str
    script: Path


def find_parts(folder: Path | None = None) -> dict[str, Part]:
    """Return the benchmarks by name; a script is one that has ``BENCHMARK = (name, what it measures)``.

    Nothing is imported: some of them need packages that are not there. Outside a checkout there are none.
    """
    found = {}
    for path in sorted((folder or _FOLDER).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == _MARK:
                    part, measures = ast.literal_eval(value)
                    found[part] = Part(name=part, measures=measures, script=path)
    return dict(sorted(found.items()))


def require_parts() -> dict[str, Part]:
    """Return the benchmarks.

    Raises:
        UsageError: this is not a checkout.
    """
    parts = find_parts()
    if not parts:
        raise UsageError(
            f"{_FOLDER}: found no benchmarks, which are not in the installed package; clone the repository and install "
            "it from there with `pip install -e .`"
        )
    return parts


def chosen_parts(only: Iterable[str], skip: Iterable[str]) -> list[Part]:
    """Return the benchmarks that are wanted, in the order of their names.

    Raises:
        UsageError: there is none of a name, or none is left.
    """
    parts, only, skip = require_parts(), set(only), set(skip)
    if unknown := sorted((only | skip) - parts.keys()):
        raise UsageError(f"found no benchmark {unknown[0]}, wanted one of {', '.join(parts)}")
    wanted = [part for name, part in parts.items() if (not only or name in only) and name not in skip]
    if not wanted:
        raise UsageError("--only and --skip leave no benchmark; take one of them out")
    return wanted


def run_parts(
    parts: Sequence[Part],
    folder: Path | None,
    options: Sequence[str] = (),
    *,
    quick: bool = False,
    table: Path | None = None,
) -> None:
    """Run benchmarks one after the other, each in a process of its own, and write their table.

    One that fails does not keep the others from being run.

    Args:
        parts: which.
        folder: where their records and ``benchmarks.md`` go; None for a new one below ``experiments/benchmarks``.
        options: handed to each as they are.
        quick: small sizes.
        table: where the table is written as well.

    Raises:
        UsageError: a script refused its options.
        NotMeasured: a part of what was to be measured could not be.
    """
    folder = folder or Path("experiments", "benchmarks", datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))
    folder.mkdir(parents=True, exist_ok=True)
    out = console()
    records: list[Path] = []
    problems: dict[str, str] = {}
    for number, part in enumerate(parts, start=1):
        out.print(
            f"== {part.name} ({number} of {len(parts)}): {part.measures}", highlight=False, soft_wrap=True
        )
        record = folder / f"{part.name}.json"
        record.unlink(missing_ok=True)  # what another time was measured is not what this time was
        started = time.monotonic()
        given = ["--out", str(record), *(["--quick"] if quick else []), *options]
        code, said = _carried_out([sys.executable, str(part.script), *given])
        out.print(f"   {time.monotonic() - started:.0f} s\n", highlight=False)
        if code == _REFUSED:
            if not any(folder.iterdir()):
                folder.rmdir()
            raise UsageError(
                f"{part.name}: {said}; `overnight bench {part.name} --help-options` lists its options"
            )
        if record.is_file():
            records.append(record)
            not_measured = json.loads(record.read_text(encoding="utf-8"))["not_measured"]
            problems |= {
                part.name if piece == part.name else f"{part.name}, {piece}": why
                for piece, why in not_measured.items()
            }
        if code and not any(name.split(", ")[0] == part.name for name in problems):
            problems[part.name] = said or f"ended with code {code}"
    if records:
        from overnight.cli.bench_table import write_table  # noqa: PLC0415

        for path in filter(None, (folder / "benchmarks.md", table)):
            write_table(records, path, problems)
        out.print(f"{len(records)} records and benchmarks.md in {folder}", highlight=False, soft_wrap=True)
    for name, why in problems.items():
        out.print(f"not measured: {name}: {why}", highlight=False, soft_wrap=True, markup=False)
    if problems:
        raise NotMeasured(f"not measured: {'; '.join(problems)}")


_REFUSED = 2  # argparse's code of a wrong option


def _carried_out(command: Sequence[str]) -> tuple[int, str]:
    """Return the exit code of a command and the last line of its standard error, which is shown as it comes."""
    last = ""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            for line in process.stderr or ():
                sys.stderr.write(line)
                sys.stderr.flush()
                last = line.strip() or last
            return process.wait(), last
        except BaseException:
            process.terminate()  # its scratch folders and its own processes go away with it
            raise
