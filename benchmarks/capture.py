"""One load for all captures against one for every prompt and trait: ``python benchmarks/capture.py [--prompts N]``.

What is measured, how, and what it does not say stands in ``README.md`` beside this file.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from figures import Figure, Spread, Target, load_average, write_record

from overnight.activations.bench import CaptureBench, bench_capture
from overnight.cli.capture_bench import what_is_captured
from overnight.errors import OvernightError
from overnight.spec.execution import Execution

BENCHMARK = ("capture", "captures with one load against a load for every prompt and trait")

_QUICK = {"prompts": 2, "traits": 2, "repeat": 1}


def figures_of(measured: Sequence[CaptureBench]) -> list[Figure]:
    """Return the figures.

    Args:
        measured: the repetitions.
    """
    first = measured[0]
    return [
        Figure(
            name=f"capturing {first.n_prompts} prompts for {first.n_traits} traits, as scripts do it, over ours",
            unit="s",
            value=Spread(tuple(one.apart.seconds for one in measured)),
            baseline=Spread(tuple(one.together.seconds for one in measured)),
            baseline_name="one load, all layers, sublayers and traits in one pass",
            target=Target(of="ratio", bound="at least", limit=10),
            note=f"{first.apart.loads} loads, {Spread(tuple(one.apart.load_s for one in measured))} s of it; "
            f"ours {first.together.loads}, {Spread(tuple(one.together.load_s for one in measured))} s",
        ),
        Figure(
            name="generating and reading every state",
            unit="tokens/s",
            value=Spread(
                tuple(one.together.tokens / (one.generate_s + one.read_s) for one in measured),
            ),
            baseline=Spread(tuple(one.together.tokens / one.generate_s for one in measured)),
            baseline_name="plain batched generation, the same replies",
            target=Target(of="ratio", bound="at least", limit=0.9),
        ),
    ]


def main() -> int:
    """Measure, print, write; return 1 if something could not be measured, whatever the figures are."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders and processes go away then, too
    load_before = load_average()
    figures: list[Figure] = []
    not_measured: dict[str, str] = {}
    try:
        model, prompts = what_is_captured(arguments.model, arguments.prompts)
        figures = figures_of(
            [
                bench_capture(model, prompts, arguments.traits, arguments.max_new_tokens, Execution())
                for _ in range(arguments.repeat)
            ]
        )
    except OvernightError as error:
        not_measured["capture"] = str(error)
        print(f"not measured: {error}")
    for figure in figures:
        print(*figure.lines(), "", sep="\n")
    if arguments.out:
        names = ("model", "prompts", "traits", "max_new_tokens", "repeat")
        write_record(
            arguments.out,
            benchmark="capture",
            figures=figures,
            settings={name: getattr(arguments, name) for name in names},
            not_measured=not_measured,
            load_before=load_before,
        )
    return 1 if not_measured else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m-instruct-fp32", help="default: %(default)s")
    parser.add_argument("--prompts", type=int, default=20, metavar="N", help="of those shipped, at most 20")
    parser.add_argument("--traits", type=int, default=4, metavar="N", help="that states are projected on")
    parser.add_argument("--max-new-tokens", type=int, default=20, metavar="N", help="of a reply")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="times that both have a turn")
    parser.add_argument("--quick", action="store_true", help="2 prompts and traits: noisy, for trying out")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write everything here as JSON")
    if "--quick" in sys.argv[1:]:
        parser.set_defaults(**_QUICK)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
