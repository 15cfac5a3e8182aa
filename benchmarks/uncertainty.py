"""Our way of measuring uncertainty against LM-Polygraph's: ``python benchmarks/uncertainty.py [--items N]``.

What is compared, how, and what it does not say stands in ``README.md`` beside this file.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cross_encoder import save_cross_encoder
from figures import Figure, NotMeasuredError, Spread, Target, load_average, write_record
from polygraph import PolygraphRun, ask_polygraph, environment, pins
from polygraph_terms import agreements, equal_answers
from stopwatch import Spent
from uncertainty_items import MAX_NEW_TOKENS, OwnPass, UncertaintyRun, sweep_of

from overnight.spec.config_root import shipped_config
from overnight.store.content_store import cache_folder
from overnight.telemetry.cores import physical_cores

BENCHMARK = ("uncertainty", "measures of uncertainty against LM-Polygraph's, their values and their time")

_QUICK = {"items": 8, "repeat": 1, "batch_sizes": (4,), "tried_on": 4}
_TIMES_POLYGRAPH = 3
_LARGEST_DIFFERENCE = 1e-4
_BATCH_SIZES = (1, 4, 16)
_TEXTS = 2


class Comparison:
    """Both sides on the same items, each pass with its models loaded afresh."""

    def __init__(self, scratch: Path, n_items: int, threads: int, python: Path) -> None:
        self._scratch = scratch
        self._python = python
        self._n_passes = 0
        self._cross_encoder = save_cross_encoder(scratch / "cross_encoder", _some_texts())
        self._sweep = sweep_of(n_items, threads, self._cross_encoder, scratch / "config")
        run = self._new_run()
        self._prompts = run.prompts()
        self._settings = {
            "folder": str(run.weights),
            "cross_encoder": self._cross_encoder.source,
            "threads": threads,
            "max_new_tokens": MAX_NEW_TOKENS,
            "stop": list(run.stop),
        }

    def ours(self) -> OwnPass:
        """Have ours answer and measure everything."""
        run = self._new_run()
        rendered = {prompt["custom_id"]: prompt["prompt"] for prompt in self._prompts}
        cache = self._scratch / f"pairs{self._n_passes}"
        return run.measure(rendered, self._cross_encoder, cache)

    def theirs(self, sizes: Sequence[int], n_items: int | None = None) -> list[PolygraphRun]:
        """Have LM-Polygraph answer and measure everything, or some items of every dataset, with each batch size."""
        n_items = n_items or len(self._prompts)
        some = self._prompts[:: max(1, len(self._prompts) // n_items)][:n_items]
        settings = self._settings | {"prompts": some}
        return ask_polygraph(self._python, settings, sizes, self._scratch / "polygraph")

    def _new_run(self) -> UncertaintyRun:
        self._n_passes += 1
        return UncertaintyRun(self._sweep, self._scratch / "experiments", f"benchmark{self._n_passes:03d}")


def figures_of(ours: Sequence[OwnPass], theirs: Sequence[PolygraphRun]) -> list[Figure]:
    """Return the figures of time.

    Args:
        ours: the repetitions.
        theirs: the repetitions.
    """
    n_items = len(theirs[0].answers)
    named = f"{pins()[0]}, {theirs[0].batch_size} at once"
    other = [Spent(wall_s=run.wall_s, cpu_s=run.cpu_s) for run in theirs]
    found = []
    for name, same_pairs in (
        ("each measure as it is defined by whom it is taken", False),
        ("relevance behind the whole prompt, as LM-Polygraph reads it", True),
    ):
        own = [one.whole(same_pairs=same_pairs) for one in ours]
        found += [
            Figure(
                name=f"overnight, {name}",
                unit="items/min",
                value=_rate(own, n_items),
                baseline=_rate(other, n_items),
                baseline_name=named,
                target=Target(of="ratio", bound="at least", limit=_TIMES_POLYGRAPH),
            ),
            Figure(
                name="the same in processor time",
                unit="processor seconds an item",
                value=Spread(tuple(spent.cpu_s / n_items for spent in own)),
                baseline=Spread(tuple(spent.cpu_s / n_items for spent in other)),
                baseline_name=named,
            ),
        ]
    for name, own_s, other_s in (
        (
            "greedy answers with the log-probabilities of their tokens",
            [one.generating.wall_s for one in ours],
            [run.generating_s for run in theirs],
        ),
        (
            "relevance of the tokens, the same pairs of texts",
            [one.relating_same.wall_s for one in ours],
            [run.relating_s for run in theirs],
        ),
    ):
        found.append(
            Figure(
                name=name,
                unit="items/min",
                value=Spread(tuple(60 * n_items / seconds for seconds in own_s)),
                baseline=Spread(tuple(60 * n_items / seconds for seconds in other_s)),
                baseline_name=named,
            )
        )
    return found


def _rate(spent: Sequence[Spent], n_items: int) -> Spread:
    return Spread(tuple(60 * n_items / one.wall_s for one in spent))


def agreement_figures(ours: OwnPass, theirs: PolygraphRun) -> list[Figure]:
    """Return how far ours are from LM-Polygraph's values, item by item.

    Raises:
        NotMeasuredError: there is nothing to compare, or a value is on one side alone.
    """
    found = agreements(ours.answers, ours.relevances, theirs.answers)
    share = len(equal_answers(ours.answers, theirs.answers)) / len(ours.answers)
    return [
        Figure(
            name="answers that are LM-Polygraph's to the letter",
            unit="of all",
            value=Spread((share,)),
            target=Target(of="value", bound="at least", limit=0.97),
        ),
        *(
            Figure(
                name=f"{measure}: largest relative difference",
                unit="of LM-Polygraph's value",
                value=Spread((agreement.largest,)),
                target=Target(of="value", bound="at most", limit=_LARGEST_DIFFERENCE),
                note=f"{agreement.n_items} items, {agreement.n_left_out} more have no value or one token; "
                f"largest: {agreement.where}",
            )
            for measure, agreement in found.items()
        ),
    ]


def main() -> int:
    """Measure, print, write; return 1 if something could not be measured, whatever the figures are."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders and processes go away then, too
    threads = arguments.threads or physical_cores()
    # The same for everybody; the first is what our hosts set for themselves.
    os.environ |= {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
    }
    load_before = load_average()
    tried: dict[int, float] = {}
    figures: list[Figure] = []
    not_measured: dict[str, str] = {}
    timed: list[PolygraphRun] = []
    with tempfile.TemporaryDirectory(prefix="overnight-benchmark-", ignore_cleanup_errors=True) as scratch:
        try:
            python = environment(arguments.environments)
            comparison = Comparison(Path(scratch), arguments.items, threads, python)
            (alone,) = comparison.theirs([1])
            ours = [_told(comparison.ours())]
            figures = agreement_figures(ours[0], alone)
            if arguments.repeat:
                tried = {
                    run.batch_size: run.per_minute
                    for run in comparison.theirs(arguments.batch_sizes, arguments.tried_on)
                }
                fastest = max(tried, key=tried.__getitem__)
                _say(
                    "LM-Polygraph: "
                    + ", ".join(f"{n} at once {rate:.1f} items/min" for n, rate in tried.items())
                )
                for repetition in range(arguments.repeat):  # each in its turn, and again
                    timed += comparison.theirs([fastest])
                    _say(f"LM-Polygraph: {timed[-1].per_minute:.1f} items/min")
                    ours += [_told(comparison.ours())] if repetition else []
                figures += figures_of(ours, timed)
            print(f"{len(ours[0].answers)} items, {threads} threads, loading excluded; min / median / max\n")
        except NotMeasuredError as error:
            not_measured["uncertainty"] = str(error)
            print(f"not measured: {error}")
    for figure in figures:
        print(*figure.lines(), "", sep="\n")
    if arguments.out:
        write_record(
            arguments.out,
            benchmark="uncertainty",
            figures=figures,
            settings={
                "items": arguments.items,
                "repeat": arguments.repeat,
                "threads": threads,
                "lm_polygraph": pins(),
                "items_per_min_by_batch_size": {str(size): rate for size, rate in tried.items()},
            },
            not_measured=not_measured,
            load_before=load_before,
        )
    return 1 if not_measured else 0


def _some_texts() -> list[str]:
    path = shipped_config() / "datasets" / "starter_open.jsonl"
    items = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:_TEXTS]]
    return [f"{item['context']} {item['question']}" for item in items]


def _told(one: OwnPass) -> OwnPass:
    _say(
        f"overnight: {one.generating.wall_s:.1f} s answering, {one.relating.wall_s:.1f} s relating "
        f"({one.relating_same.wall_s:.1f} s behind whole prompts), {one.measuring.wall_s:.1f} s measuring"
    )
    return one


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100, metavar="N", help="questions, at most 120")
    parser.add_argument(
        "--repeat", type=int, default=2, metavar="N", help="times that both have a turn; 0: only the values"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of everybody; default: the physical cores")
    parser.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        default=_BATCH_SIZES,
        metavar="N",
        help="that LM-Polygraph tries",
    )
    parser.add_argument(
        "--tried-on",
        type=int,
        default=16,
        metavar="N",
        help="items on which it tries them; default: %(default)s",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=cache_folder() / "benchmarks",
        metavar="FOLDER",
        help="where LM-Polygraph is installed (2.2 GB), once; default: %(default)s",
    )
    parser.add_argument("--quick", action="store_true", help="few items, once: noisy, for trying out")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write everything here as JSON")
    if "--quick" in sys.argv[1:]:
        parser.set_defaults(**_QUICK)
    return parser.parse_args()


def _say(text: str) -> None:
    """Tell whoever waits how it goes; what is printed on standard output is the result."""
    print(f"  ... {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
