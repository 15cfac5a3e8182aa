"""How fast texts of vectors are drawn: ``python benchmarks/best_of_k_drawing.py [--vectors N] [--rows N ...]``.

Our host against transformers' own ``generate`` with ``num_return_sequences``, and two processes that share the
processor against one. The lens has random weights, which the speed does not depend on; what it takes to load the model
is not counted. Both ways draw at temperature 1 from the whole distribution, so that texts end as often.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from figures import Figure, NotMeasuredError, Spread, load_average, write_record

from overnight.engines.holding import connect_all, hold
from overnight.engines.sources import fetch
from overnight.lens.request import VerbaliseRequest
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.execution import Execution
from overnight.telemetry.cores import physical_cores

_MODEL = "smollm2-135m-instruct-fp32"
_LAYER, _SOFT_TOKENS = 10, 8
_CONTEXT_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What some drawing came to."""

    n_draws: int
    n_tokens: int
    wall_s: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Draws a second."""
        return self.n_draws / self.wall_s

    @property
    def cpu_ms_a_token(self) -> float:
        """Processor time of a token: on a busy machine it moves less than the time on the clock."""
        return 1000 * self.cpu_s / self.n_tokens


class Contest:
    """The ways to draw the texts of the same vectors.

    Args:
        scratch: for files.
        n_vectors: how many.
        n_draws: of each.
        max_new_tokens: of a text.
        threads: of each way.
    """

    def __init__(
        self, scratch: Path, n_vectors: int, n_draws: int, max_new_tokens: int, threads: int
    ) -> None:
        self._scratch = scratch
        self._model = ConfigRoot(shipped_config()).model(_MODEL)
        self._weights = fetch(self._model).path
        self._threads = threads
        self._request = VerbaliseRequest(
            lens=scratch / "lens",
            vectors=scratch / "vectors.safetensors",
            keys=tuple(map(str, range(n_vectors))),
            n_draws=n_draws,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            max_new_tokens=max_new_tokens,
            seed=0,
            rows=1,
        )
        _write_lens(self._request.lens, self._request.vectors, n_vectors, self._weights)

    def ours(self, rows: int, n_processes: int = 1) -> Drawn:
        """Ask a fresh host; several processes share the vectors."""
        execution = Execution.model_validate(
            {
                "num_processes": n_processes,
                "request_timeout_s": 3600,
                "engine": {"threads": self._threads, "transformers": {"device": "cpu"}},
            }
        )
        requests = self._shares(rows, n_processes)
        with hold(self._model, self._weights, _CONTEXT_TOKENS, execution, self._scratch) as host:
            host.start()
            return asyncio.run(self._ask(execution, requests, host.state.pid or 0))

    def bare(self, rows: int) -> Drawn:
        """Let a fresh process generate."""
        settings = self._request.to_json() | {
            "folder": str(self._weights),
            "threads": self._threads,
            "rows": rows,
        }
        given, found = self._scratch / "settings.json", self._scratch / "result.json"
        given.write_text(json.dumps(settings), encoding="utf-8")
        script = Path(__file__).with_name("bare_drawing.py")
        ended = subprocess.run(
            [sys.executable, str(script), str(given), str(found)], check=False, capture_output=True, text=True
        )
        if ended.returncode:
            raise NotMeasuredError(f"generate: {ended.stderr.strip().splitlines()[-1]}")
        n_draws = len(self._request.keys) * (self._request.n_draws // rows) * rows
        return Drawn(n_draws=n_draws, **json.loads(found.read_text(encoding="utf-8")))

    def _shares(self, rows: int, n_processes: int) -> list[VerbaliseRequest]:
        from safetensors.numpy import load_file, save_file  # noqa: PLC0415 - only here

        vectors = load_file(self._request.vectors)["vectors"]
        shares = []
        for rank in range(n_processes):
            path = self._scratch / f"{rank}-of-{n_processes}.safetensors"
            save_file({"vectors": vectors[rank::n_processes].copy()}, path)
            keys = self._request.keys[rank::n_processes]
            shares.append(replace(self._request, vectors=path, keys=keys, rows=rows))
        return shares

    async def _ask(self, execution: Execution, requests: Sequence[VerbaliseRequest], pid: int) -> Drawn:
        engines = connect_all(self._model, execution, self._scratch)
        try:
            warm = [replace(request, n_draws=1, max_new_tokens=2) for request in requests]
            await asyncio.gather(
                *(engine.verbalise(each) for engine, each in zip(engines, warm, strict=True))
            )
            busy, started = _busy_s(pid), time.perf_counter()
            answers = await asyncio.gather(
                *(engine.verbalise(each) for engine, each in zip(engines, requests, strict=True))
            )
            wall_s, cpu_s = time.perf_counter() - started, _busy_s(pid) - busy
        finally:
            for engine in engines:
                await engine.close()
        draws = [draw for answer in answers for of_vector in answer.draws for draw in of_vector]
        return Drawn(
            n_draws=len(draws), n_tokens=sum(draw.n_tokens for draw in draws), wall_s=wall_s, cpu_s=cpu_s
        )


def _write_lens(folder: Path, vectors_file: Path, n_vectors: int, weights: Path) -> None:
    """Write a lens with random weights, and vectors for it, in a process of their own."""
    script = (
        "import sys; from pathlib import Path; from random_lens import write; "
        "write(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), "
        f"layer={_LAYER}, soft_tokens={_SOFT_TOKENS})"
    )
    command = [sys.executable, "-c", script, str(folder), str(vectors_file), str(n_vectors), str(weights)]
    subprocess.run(command, check=True, cwd=Path(__file__).parent)


def _busy_s(pid: int) -> float:
    root = psutil.Process(pid)
    times = [each.cpu_times() for each in (root, *root.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def figures_of(came_to: dict[tuple[str, int], list[Drawn]], threads: int) -> list[Figure]:
    """Return what stands in the table.

    Args:
        came_to: the repetitions of each way, by its name and rows at a time.
        threads: of each way.
    """
    rates = {way: Spread(tuple(each.per_s for each in drawn)) for way, drawn in came_to.items()}
    found = []
    for (name, rows), rate in rates.items():
        baseline, said = {
            "ours": ("generate", "transformers' generate, num_return_sequences"),
            "two processes": ("ours", f"one process of {threads} threads"),
        }.get(name, ("", ""))
        if (baseline, rows) in rates:
            found.append(
                Figure(
                    name=f"draws, {name}, {rows} at a time",
                    unit="draws/s",
                    value=rate,
                    baseline=rates[baseline, rows],
                    baseline_name=said,
                    note="; ".join(
                        f"{way}: {Spread(tuple(each.cpu_ms_a_token for each in came_to[way, rows]))} ms of "
                        "processor time a token"
                        for way in (name, baseline)
                    ),
                )
            )
    return found


def main() -> int:
    """Measure, print, write; return 1 if something could not be measured."""
    arguments = _arguments()
    threads = arguments.threads or physical_cores()
    os.environ |= {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
    }
    load_before = load_average()
    came_to: dict[tuple[str, int], list[Drawn]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="overnight-benchmark-", ignore_cleanup_errors=True) as scratch:
        contest = Contest(Path(scratch), arguments.vectors, arguments.draws, arguments.tokens, threads)
        try:
            for _ in range(arguments.repeat):  # each in its turn, and again
                for rows in arguments.rows:
                    came_to["generate", rows].append(contest.bare(rows))
                    came_to["ours", rows].append(contest.ours(rows))
                    if arguments.processes:
                        came_to["two processes", rows].append(contest.ours(rows, n_processes=2))
        except NotMeasuredError as error:
            print(f"not measured: {error}")
            return 1
    print(
        f"{arguments.vectors} vectors, {arguments.draws} draws of up to {arguments.tokens} tokens each, {threads} "
        "threads, loading excluded; min / median / max over repetitions\n"
    )
    figures = figures_of(came_to, threads)
    for figure in figures:
        print(*figure.lines(), "", sep="\n")
    if arguments.out:
        write_record(
            arguments.out,
            benchmark="best_of_k_drawing",
            figures=figures,
            settings={name: value for name, value in vars(arguments).items() if name != "out"}
            | {"threads": threads},
            not_measured={},
            load_before=load_before,
        )
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=4, metavar="N")
    parser.add_argument("--draws", type=int, default=64, metavar="N", help="of each vector")
    parser.add_argument("--tokens", type=int, default=16, metavar="N", help="of a text, at most")
    parser.add_argument("--rows", type=int, nargs="+", default=(16, 64), metavar="N", help="at a time")
    parser.add_argument("--repeat", type=int, default=2, metavar="N", help="times that each way has a turn")
    parser.add_argument("--threads", type=int, metavar="N", help="of each way; default: the physical cores")
    parser.add_argument("--processes", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write everything here as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
