"""What grows with trials, items and vectors, and how: ``python benchmarks/scaling.py [--quick] [--only PIECE]``.

What is measured, how, and what it does not say stands in ``README.md`` beside this file.
"""

import argparse
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from command_line import CommandLine, known, say
from figures import Figure, NotMeasuredError, Spread, Target, load_average, write_record
from made_up_sweeps import made_up_sweep, starter_sweep, warm_up
from scaling_figures import draw_curves
from scaling_items import STAGES as ITEM_STAGES
from scaling_vectors import STAGES as VECTOR_STAGES

BENCHMARK = ("scaling", "what grows with the number of trials, items and vectors, in time and in memory")

_QUICK = {"trials": (1, 10), "items": (100, 1000), "vectors": (1000, 4000), "seconds": 120.0}
_HERE = Path(__file__).parent
_FLAT = 1.2  # of memory, while a number grows 100 times
_SHARE = 100
_ITEMS_A_TRIAL = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One stage at one size."""

    size: int
    seconds: float
    peak_mb: float
    bytes_each: float | None = None  # on disk


Curves = dict[str, list[Point]]  # by stage, sizes rising


class Scaling:
    """Sizes one after the other, each stage in a process of its own."""

    def __init__(self, scratch: Path, seconds: float) -> None:
        self._scratch = scratch
        self._seconds = seconds
        self._line = CommandLine(scratch)
        self.left_out: dict[str, str] = {}

    def trials(self, sizes: tuple[int, ...]) -> Curves:
        """Measure whole dry runs: seconds from the end of one trial to that of the next, and all of the command."""
        warm_up(self._line)
        found: Curves = {"trial by trial": [], "whole command": []}
        for n in sizes:
            points = found["whole command"]
            if self._is_too_long("trials", n, points):
                continue
            sweep = starter_sweep(
                self._scratch / f"trials{n}",
                "many_trials",
                "short_answer",
                _ITEMS_A_TRIAL,
                dry_run=True,
                sweep={"top_k": list(range(1, n + 1))},
            )
            said = self._scratch / "peak_bytes"
            try:
                run = self._line.run(str(sweep), peak_memory=said, timeout_s=self._seconds)
            except NotMeasuredError as error:
                self._leave_out("trials", n, str(error))
                continue
            peak_mb = int(said.read_text()) / 1e6
            started = min(known(trial.timings.started) for trial in run.trials)
            ended = max(known(trial.timings.ended) for trial in run.trials)
            asked_s = (ended - started).total_seconds()
            found["trial by trial"].append(Point(size=n, seconds=asked_s, peak_mb=peak_mb))
            points.append(Point(size=n, seconds=run.wall_s, peak_mb=peak_mb))
            say(f"{n} trials: {asked_s:.1f} s, the whole command {run.wall_s:.1f} s, {peak_mb:.0f} MB")
        return found

    def items(self, sizes: tuple[int, ...]) -> Curves:
        """Measure every step of one trial, without Prefect and with answers that are there at once."""
        return self._stages("items", sizes, ITEM_STAGES, lambda n: made_up_sweep(self._scratch, n))

    def vectors(self, sizes: tuple[int, ...]) -> Curves:
        """Measure the cache of vectors, the vectors of a run, and what is summed over them."""
        return self._stages("vectors", sizes, VECTOR_STAGES, lambda n: self._scratch / f"vectors{n}")

    def _stages(
        self, kind: str, sizes: tuple[int, ...], stages: dict[str, Callable], make: Callable[[int], Path]
    ) -> Curves:
        found: Curves = {name: [] for name in stages}
        for n in sizes:
            where = make(n)
            for name, points in found.items():
                if self._is_too_long(f"{kind}, {name}", n, points):
                    break  # what comes after needs its files
                said = self._scratch / "measured.json"
                script = str(_HERE / f"scaling_{kind}.py")
                try:
                    self._line.python(script, name, str(n), str(where), str(said), timeout_s=self._seconds)
                except NotMeasuredError as error:
                    self._leave_out(f"{kind}, {name}", n, str(error))
                    break
                points.append(Point(size=n, **json.loads(said.read_text())))
                say(f"{n} {kind}, {name}: {points[-1].seconds:.2f} s, {points[-1].peak_mb:.0f} MB")
        return found

    def _is_too_long(self, what: str, n: int, points: list[Point]) -> bool:
        """Leave a size out that would take longer than it may, by the two before: one alone may be all fixed costs."""
        if len(points) < 2:  # noqa: PLR2004 - a line has two ends
            return False
        before, last = points[-2:]
        each = max(0.0, (last.seconds - before.seconds) / (last.size - before.size))
        expected = last.seconds + each * (n - last.size)
        if expected > self._seconds:
            self._leave_out(what, n, f"would take about {expected:.0f} s, --seconds is {self._seconds:.0f}")
            return True
        return False

    def _leave_out(self, what: str, n: int, why: str) -> None:
        self.left_out[f"{what} at {n}"] = why
        say(f"{what} at {n} left out: {why}")


def figures_of(kind: str, curves: Curves) -> list[Figure]:
    """Return the figures: the largest size against the one that is a hundredth of it, or the smallest.

    Memory has a target where there is a hundredth. Time has none: with a ratio of 1 it is linear.
    """
    found = []
    for stage, points in curves.items():
        if not points:
            continue
        last = points[-1]
        few = next((p for p in points if p.size * _SHARE == last.size), points[0])
        each = f"{kind}, {stage}"
        same = few is last
        disk = f"; {last.bytes_each:.0f} bytes on disk each" if last.bytes_each is not None else ""
        found.append(
            Figure(
                name=f"{each}: time for each of {last.size}",
                unit="ms" if kind == "trials" else "µs",
                value=Spread((_each(kind, last),)),
                baseline=None if same else Spread((_each(kind, few),)),
                baseline_name=f"of {few.size}",
                note=f"{last.seconds:.1f} s in all{_exponent(points)}{disk}",
            )
        )
        found.append(
            Figure(
                name=f"{each}: peak memory of its process at {last.size}",
                unit="MB",
                value=Spread((last.peak_mb,)),
                baseline=None if same else Spread((few.peak_mb,)),
                baseline_name=f"at {few.size}",
                target=Target(of="ratio", bound="at most", limit=_FLAT)
                if few.size * _SHARE == last.size
                else None,
            )
        )
    return found


def _each(kind: str, point: Point) -> float:
    return (1e3 if kind == "trials" else 1e6) * point.seconds / point.size


def _exponent(points: list[Point]) -> str:
    """Say how the time grew between the last two sizes: with n to the power of what."""
    if len(points) < 2 or points[-2].seconds <= 0:  # noqa: PLR2004 - a slope has two ends
        return ""
    slope = math.log(points[-1].seconds / points[-2].seconds) / math.log(points[-1].size / points[-2].size)
    return f"; from {points[-2].size} on with n^{slope:.2f}"


PIECES = ("items", "vectors", "trials")


def main() -> int:
    """Measure, print, write; return 1 if something could not be measured, whatever the figures are."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders and processes go away then, too
    load_before = load_average()
    figures: list[Figure] = []
    not_measured: dict[str, str] = {}
    curves: dict[str, Curves] = {}
    with tempfile.TemporaryDirectory(
        prefix="overnight-benchmark-", ignore_cleanup_errors=True, dir=arguments.scratch
    ) as scratch:
        os.environ["OVERNIGHT_CACHE_DIR"] = str(Path(scratch) / "cache")  # a million items are nobody's cache
        scaling = Scaling(Path(scratch), arguments.seconds)
        for name in arguments.only or PIECES:
            try:
                curves[name] = getattr(scaling, name)(tuple(sorted(getattr(arguments, name))))
            except Exception as error:  # noqa: BLE001 - the other pieces are still worth measuring
                not_measured[name] = f"{type(error).__name__}: {error}"
                print(f"{name}: not measured: {not_measured[name]}\n", flush=True)
                continue
            taken = figures_of(name, curves[name])
            figures += taken
            for figure in taken:
                print(*figure.lines(), "", sep="\n", flush=True)
    not_measured |= scaling.left_out
    for what, why in scaling.left_out.items():
        print(f"left out: {what}: {why}")
    if arguments.out:
        plain = {
            kind: {stage: [asdict(point) for point in points] for stage, points in of_kind.items()}
            for kind, of_kind in curves.items()
        }
        write_record(
            arguments.out,
            benchmark="scaling",
            figures=figures,
            settings={
                **{name: list(getattr(arguments, name)) for name in arguments.only or PIECES},
                "seconds": arguments.seconds,
                "quick": arguments.quick,
            },
            not_measured=not_measured,
            load_before=load_before,
            curves=plain,
        )
        for kind, of_kind in plain.items():
            draw_curves(arguments.out.with_suffix(""), kind, of_kind)
    return 1 if not_measured else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = {
        "trials": (1, 10, 100, 1000),
        "items": (100, 1000, 10_000, 100_000, 1_000_000),
        "vectors": (1000, 10_000, 100_000, 1_000_000),
    }
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, nargs="+", default=default, metavar="N", help="sizes")
    parser.add_argument(
        "--seconds",
        type=float,
        default=1800.0,
        metavar="S",
        help="that one process may take; a size that would take longer is left out and named; default: %(default)g",
    )
    parser.add_argument("--only", choices=PIECES, action="append", help="measure this piece; may be repeated")
    parser.add_argument(
        "--scratch", type=Path, metavar="FOLDER", help="for files: about 15 GB at the largest sizes"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: noisy, for trying out")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write everything here, figures beside")
    if "--quick" in sys.argv[1:]:
        parser.set_defaults(**_QUICK)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
