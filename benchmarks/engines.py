"""Our engines against lm-evaluation-harness and against the bare ones: ``python benchmarks/engines.py [--items N]``.

What is measured, how, and what it does not say stands in ``README.md`` beside this file.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from engine_contestants import BARE, LLAMA_CPP, LM_EVAL, TRANSFORMERS, Contestants
from engine_items import Answers
from figures import Figure, NotMeasuredError, Spread, Target, load_average, write_record
from lm_eval_harness import environment, pins

from overnight.store.content_store import cache_folder
from overnight.telemetry.cores import physical_cores

BENCHMARK = ("engines", "our engines against lm-evaluation-harness and against the bare ones")

_QUICK = {"items": 8, "repeat": 1, "batch_sizes": (4,), "tried_on": 4}
_TIMES_LM_EVAL = {LLAMA_CPP: 5, TRANSFORMERS: 2}
_BATCH_SIZES = (4, 8, 16, 32, 64)


def figures_of(came_to: dict[str, list[Answers]], lm_eval_name: str) -> list[Figure]:
    """Return what stands in the table.

    Args:
        came_to: the repetitions of each way of asking.
        lm_eval_name: for people.
    """
    rates = {name: Spread(tuple(a.per_minute for a in answers)) for name, answers in came_to.items()}
    found = []
    for engine, times in _TIMES_LM_EVAL.items():
        measured = {"unit": "items/min", "value": rates[engine], "note": _processor(came_to[engine])}
        if LM_EVAL in came_to:
            found.append(
                Figure(
                    name=f"overnight, {engine}, against lm-evaluation-harness",
                    baseline=rates[LM_EVAL],
                    baseline_name=f"{lm_eval_name}; {_processor(came_to[LM_EVAL])}",
                    target=Target(of="ratio", bound="at least", limit=times),
                    **measured,
                )
            )
        bare = BARE[engine]
        found.append(
            Figure(
                name=f"overnight, {engine}, against {bare}",
                baseline=rates[bare],
                baseline_name=f"{bare}, one request at a time",
                **measured,
            )
        )
    for other in (LM_EVAL, BARE[TRANSFORMERS]):
        if other in came_to:
            pairs = zip(came_to[TRANSFORMERS], came_to[other], strict=True)
            found.append(
                Figure(
                    name=f"answers of overnight, transformers, that are those of {other} to the letter",
                    unit="of all",
                    value=Spread(tuple(equal_share(ours.texts, theirs.texts) for ours, theirs in pairs)),
                    target=Target(of="value", bound="at least", limit=0.97),
                )
            )
    return found


def equal_share(ours: dict[str, str], theirs: dict[str, str]) -> float:
    """Return the share of items that two ways of asking answered with the same text.

    Raises:
        NotMeasuredError: they did not answer the same items.
    """
    if ours.keys() != theirs.keys() or not ours:
        raise NotMeasuredError(f"{len(ours)} and {len(theirs)} answers are not of the same items")
    return sum(theirs[name] == text for name, text in ours.items()) / len(ours)


def _processor(answers: Sequence[Answers]) -> str:
    """Say how long processors were busy for an item: on a busy machine it moves less than the time on the clock."""
    spent = [a.cpu_s / a.n_items for a in answers if a.cpu_s is not None]
    return f"{Spread(tuple(spent))} processor seconds an item" if spent else ""


def main() -> int:
    """Measure, print, write; return 1 if something could not be measured, whatever the figures are."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders and processes go away then, too
    threads = arguments.threads or physical_cores()
    # The same for everybody; the first is what our host of transformers sets for itself.
    os.environ |= {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
    }
    load_before = load_average()
    came_to: dict[str, list[Answers]] = defaultdict(list)
    tried: dict[int, float] = {}
    figures: list[Figure] = []
    not_measured: dict[str, str] = {}
    harness = None
    with tempfile.TemporaryDirectory(prefix="overnight-benchmark-", ignore_cleanup_errors=True) as scratch:
        try:
            harness = environment(arguments.environments) if arguments.lm_eval else None
            contestants = Contestants(Path(scratch), arguments.items, threads, harness, arguments.words)
            if harness is not None:
                tried = contestants.choose_batch_size(arguments.batch_sizes, arguments.tried_on)
                _say(
                    "lm-eval: " + ", ".join(f"{n} at once {rate:.1f} items/min" for n, rate in tried.items())
                )
            for _ in range(arguments.repeat):  # each in its turn, and again
                for name, ask in contestants.ways.items():
                    came_to[name].append(_all_of(name, ask(), arguments.items))
            figures = figures_of(came_to, f"{pins()[0]}, hf, {contestants.batch_size} at once")
        except NotMeasuredError as error:
            not_measured["engines"] = str(error)
            print(f"not measured: {error}")
    prompt = "short_answer" if arguments.words is None else f"{arguments.words} words of system prompt"
    if figures:
        print(
            f"{arguments.items} items, {prompt}, {threads} threads, loading excluded; "
            "min / median / max over repetitions\n"
        )
    for figure in figures:
        print(*figure.lines(), "", sep="\n")
    if arguments.out:
        write_record(
            arguments.out,
            benchmark="engines",
            figures=figures,
            settings={
                "items": arguments.items,
                "repeat": arguments.repeat,
                "threads": threads,
                "words": arguments.words,
                "lm_eval": pins() if harness else None,
                "items_per_min_by_batch_size": {str(size): rate for size, rate in tried.items()},
            },
            not_measured=not_measured,
            load_before=load_before,
        )
    return 1 if not_measured else 0


def _all_of(name: str, answers: Answers, n_items: int) -> Answers:
    """Return answers that are to all items."""
    if answers.n_items != n_items:
        raise NotMeasuredError(f"{name}: {answers.n_items} of {n_items} items were answered")
    _say(f"{name}: {answers.per_minute:.1f} items/min, {answers.wall_s:.1f} s")
    return answers


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=200, metavar="N", help="questions, at most 204")
    parser.add_argument("--repeat", type=int, default=2, metavar="N", help="times that everybody has a turn")
    parser.add_argument("--threads", type=int, metavar="N", help="of everybody; default: the physical cores")
    parser.add_argument("--lm-eval", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=_BATCH_SIZES, metavar="N", help="that lm-eval tries"
    )
    parser.add_argument(
        "--tried-on",
        type=int,
        default=64,
        metavar="N",
        help="items on which it tries them; default: %(default)s",
    )
    parser.add_argument(
        "--words", type=int, metavar="N", help="of the system prompt; default: the 89 of short_answer"
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=cache_folder() / "benchmarks",
        metavar="FOLDER",
        help="where lm-eval is installed (1.8 GB), once; default: %(default)s",
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
