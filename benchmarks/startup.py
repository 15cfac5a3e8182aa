"""How long a user waits: ``python benchmarks/startup.py [--repeat N] [--only PIECE ...] [--out FILE.json]``.

What is measured, how, and what it does not say stands in ``README.md`` beside this file.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
from figures import Figure, NotMeasuredError, Spread, Target, load_average, write_record

from overnight.engines.sources import fetch
from overnight.processes import end_child, free_port
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.store.journal import read_rows
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder

BENCHMARK = ("startup", "how long a user waits for help, for Prefect and for the first request of a run")

_QUICK = {"repeat": 1}
_MODEL = "smollm2-135m-instruct-q4_1"
_HELP_RUNS = 10
_LOOK_S = 0.05
_PATIENCE_S = 600.0
_STAGES = (
    "the process, its imports, the plan",
    "Prefect: its imports and its API",
    "the flow, up to the GPU or the processor being taken",
    "the model's process and its load",
    "the trial's subflow and its requests",
)


@dataclass(frozen=True, slots=True)
class Command:
    """What some Python took: seconds on the clock, and of processors in this and in other processes of its own."""

    wall_s: float
    cpu_s: float


def environment(scratch: Path) -> dict[str, str]:
    """Return an environment without the user's Prefect."""
    named = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return named | {"PREFECT_HOME": str(scratch / "prefect")}


def run(scratch: Path, *arguments: str) -> Command:
    """Run this Python with arguments to its end."""
    before, started = _children_s(), time.perf_counter()
    result = subprocess.run(
        [sys.executable, *arguments], cwd=scratch, env=environment(scratch), capture_output=True, check=False
    )
    wall_s = time.perf_counter() - started
    if result.returncode:
        raise NotMeasuredError(f"exit code {result.returncode} of {' '.join(arguments)}")
    return Command(wall_s, _children_s() - before)


def help_page(scratch: Path, _: int) -> list[Figure]:
    """Measure ``overnight --help`` beside a Python that does nothing."""
    taken: dict[tuple[str, ...], list[Command]] = {("-m", "overnight", "--help"): [], ("-c", "pass"): []}
    for arguments in taken:
        run(scratch, *arguments)  # compiled and read from disk once
    for _ in range(_HELP_RUNS):
        for arguments, commands in taken.items():
            commands.append(run(scratch, *arguments))
    ours, bare = taken.values()
    target = Target(of="value", bound="at most", limit=0.5)
    return [
        Figure(
            name="overnight --help",
            unit="s",
            value=Spread(tuple(c.wall_s for c in ours)),
            baseline=Spread(tuple(c.wall_s for c in bare)),
            baseline_name="python -c pass",
            target=target,
        ),
        Figure(
            name="overnight --help, processor time",
            unit="s",
            value=Spread(tuple(c.cpu_s for c in ours)),
            note="the smallest is what a quiet machine needs at most",
        ),
    ]


def prefect_alone(scratch: Path, repeat: int) -> list[Figure]:
    """Measure what a start cannot be without: Prefect's import, and its API up to its first answer."""
    run(scratch, "-c", "import prefect.main")
    imports = [run(scratch, "-c", "import prefect.main") for _ in range(repeat)]
    _api(scratch)
    served = [_api(scratch) for _ in range(repeat)]
    return [
        Figure(name="import of Prefect", unit="s", value=Spread(tuple(each.wall_s for each in imports))),
        Figure(
            name="the API alone, up to its first answer",
            unit="s",
            value=Spread(tuple(each.wall_s for each in served)),
        ),
        Figure(name="the same, processor time", unit="s", value=Spread(tuple(each.cpu_s for each in served))),
    ]


def _api(scratch: Path) -> Command:
    port, started = free_port(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.api_host", str(port)],
        env=environment(scratch),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while time.perf_counter() - started < _PATIENCE_S:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/api/health", trust_env=False).is_success:
                    return Command(time.perf_counter() - started, _busy_s(process.pid))
            except httpx.TransportError:
                time.sleep(_LOOK_S)
        raise NotMeasuredError("the API did not answer")
    finally:
        end_child(process)


def first_request(scratch: Path, repeat: int) -> list[Figure]:
    """Measure a run from its command line to its first request, stage by stage; the weights are there already."""
    fetch(ConfigRoot(shipped_config()).model(_MODEL))
    sweep = scratch / "first.yaml"
    sweep.write_text(
        "kind: prompt-sweep\nname: first\nexperiment:\n  datasets: [starter_closed]\n  limit_items: 2\n"
        f"  defaults: {{model: {_MODEL}, prompt_set: short_answer, max_new_tokens: {{closed: 4, open: 4}}}}\n"
        "  statistics: {analyses: []}\n"
        "execution: {engine: {gpu_layers: 0}, audit: {share: 0}}\n",
        encoding="utf-8",
    )
    first = _to_first_request(scratch, sweep, "r0")
    starts = [_to_first_request(scratch, sweep, f"r{number + 1}") for number in range(repeat)]
    stages = zip(_STAGES, zip(*(start.stages_s for start in starts), strict=True), strict=True)
    return [
        Figure(
            name="from the command to the first request",
            unit="s",
            value=Spread(tuple(sum(start.stages_s) for start in starts)),
            target=Target(of="value", bound="at most", limit=5.0),
            note=f"{_MODEL}, embedded API, weights in the cache",
        ),
        *(
            Figure(name=f"    of which {number}. {name}", unit="s", value=Spread(seconds))
            for number, (name, seconds) in enumerate(stages, start=1)
        ),
        Figure(
            name="processor time of all processes up to the first answer",
            unit="s",
            value=Spread(tuple(start.cpu_s for start in starts)),
        ),
        Figure(
            name="the very first time: Prefect's database is made",
            unit="s",
            value=Spread((sum(first.stages_s),)),
        ),
    ]


@dataclass(frozen=True, slots=True)
class Start:
    """The start of one run."""

    stages_s: tuple[float, ...]
    cpu_s: float


def _to_first_request(scratch: Path, sweep: Path, run_id: str) -> Start:
    folder = RunFolder(scratch / "experiments" / f"run_{run_id}")
    command = [sys.executable, "-m", "overnight", "run", str(sweep), "--no-cache", "--run-id", run_id]
    began, log = datetime.now(UTC), scratch / f"{run_id}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=scratch, env=environment(scratch), stdout=said, stderr=subprocess.STDOUT
        )
    cpu_s = 0.0
    try:
        while process.poll() is None and not cpu_s:
            time.sleep(_LOOK_S)
            if any(path.stat().st_size for path in folder.path.glob("*/results/generations.jsonl")):
                cpu_s = _busy_s(process.pid)
        code = process.wait(_PATIENCE_S)
    finally:
        process.kill()  # its API and its engine leave with it
    if code:
        raise NotMeasuredError(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1])
    manifest = read_manifest(folder)
    (slug, _), (block,) = *manifest.trials.items(), tuple(manifest.blocks.values())
    sent = min(
        datetime.fromisoformat(row["at"]) - timedelta(seconds=row["latency_s"])
        for row in read_rows(folder.trial(slug).journal)
    )
    said_at = _said_at(folder)
    if manifest.created is None or block.held_from is None:
        raise NotMeasuredError("the manifest lacks a timing")
    times = [
        began,
        manifest.created,
        said_at(f"Beginning flow run '{run_id}'"),
        block.held_from,
        said_at(" serves: "),
        sent,
    ]
    return Start(tuple((b - a).total_seconds() for a, b in pairwise(times)), cpu_s)


def _said_at(folder: RunFolder) -> Callable[[str], datetime]:
    """Return what says when the run's log had the first line with some words."""
    lines = folder.log.read_text(encoding="utf-8").splitlines()

    def said_at(words: str) -> datetime:
        line = next((line for line in lines if words in line), None)
        if line is None:
            raise NotMeasuredError(f"the log of the run does not say {words!r}")
        day, clock = line.split()[:2]
        return datetime.fromisoformat(f"{day}T{clock.replace(',', '.')}").astimezone(UTC)

    return said_at


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _busy_s(pid: int) -> float:
    """Return the processor time of a process, of those that it has started, and of those of them that are gone."""
    root = psutil.Process(pid)
    found = []
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # whoever waited for it has its time
            found.append(process.cpu_times())
    return sum(
        times.user + times.system + getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
        for times in found
    )


PIECES: dict[str, Callable[[Path, int], list[Figure]]] = {
    "help": help_page,
    "prefect": prefect_alone,
    "first-request": first_request,
}


def main() -> int:
    """Measure, print, write; return 1 if something could not be measured, whatever the figures are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5, help="starts of a run, and of Prefect")
    parser.add_argument("--only", choices=PIECES, action="append", help="measure this piece; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one start of each: noisy, for trying out")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write everything here as JSON")
    if "--quick" in sys.argv[1:]:
        parser.set_defaults(**_QUICK)
    arguments = parser.parse_args()
    load_before = load_average()
    figures: list[Figure] = []
    not_measured: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="overnight-benchmark-", ignore_cleanup_errors=True) as scratch:
        for name in arguments.only or PIECES:
            try:
                taken = PIECES[name](Path(scratch), arguments.repeat)
            except Exception as error:  # noqa: BLE001 - the other pieces are still worth measuring
                not_measured[name] = f"{type(error).__name__}: {error}"
                print(f"{name}: not measured: {not_measured[name]}\n", flush=True)
                continue
            figures += taken
            for figure in taken:
                print(*figure.lines(), "", sep="\n", flush=True)
    if arguments.out:
        write = partial(write_record, arguments.out, figures=figures, not_measured=not_measured)
        write(benchmark="startup", settings={"repeat": arguments.repeat}, load_before=load_before)
    return 1 if not_measured else 0


if __name__ == "__main__":
    sys.exit(main())
