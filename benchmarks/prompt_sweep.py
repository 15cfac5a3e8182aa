"""The prompt sweep against its baselines: ``python benchmarks/prompt_sweep.py [--quick] [--out FILE.json]``.

What is measured, how, and what it does not say stands in ``README.md`` beside this file.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import yaml
from bare_engine import Body, ask_bare, ask_one_by_one
from command_line import CommandLine, known, say
from figures import Figure, NotMeasuredError, Spread, Target, load_average, write_record
from long_prompt import long_treatment
from made_up_sweeps import made_up_sweep, starter_sweep, warm_up, write_config

from overnight.engines.holding import connect, host_settings
from overnight.engines.sources import fetch
from overnight.ids import split_custom_id
from overnight.planning.plan import Plan
from overnight.runs.building import build_requests
from overnight.runs.costing import write_costs
from overnight.runs.ending import settle_trial
from overnight.runs.generating import count_draws, generate
from overnight.runs.opening import create_run, load_plan, load_spec
from overnight.runs.parsing import write_predictions
from overnight.runs.resolving import resolve
from overnight.runs.scoring import write_scores
from overnight.runs.trials import begin_trial, note_generated
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.run_options import RunOptions
from overnight.spec.steps import StepRange
from overnight.store.journal import is_done, read_rows
from overnight.store.run_folder import RunFolder

BENCHMARK = ("prompt-sweep", "the prompt sweep against the bare engine and against one request at a time")

T = TypeVar("T")

_HERE = Path(__file__).parent
_LONG_PROMPT_WORDS = 900
_ITEMS_A_TRIAL = 24
_HELP_RUNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is done; ``QUICK`` is for trying out, its figures are noisy."""

    short_prompt_items: int
    short_prompt_repetitions: int
    long_prompt_items: int
    long_prompt_repetitions: int
    trials: int
    trials_repetitions: int
    few_items: int = 100
    many_items: int = 10_000
    memory_repetitions: int


FULL = Sizes(
    short_prompt_items=16,
    short_prompt_repetitions=3,
    long_prompt_items=8,
    long_prompt_repetitions=3,
    trials=100,
    trials_repetitions=1,
    memory_repetitions=2,
)
QUICK = Sizes(
    short_prompt_items=4,
    short_prompt_repetitions=3,
    long_prompt_items=2,
    long_prompt_repetitions=1,
    trials=20,
    trials_repetitions=1,
    memory_repetitions=1,
)


# ------------------------------------------------------------------------------------------- throughput


def short_prompts(line: CommandLine, sizes: Sizes) -> list[Figure]:
    """Measure throughput on the project's starter items and one of its prompt sets."""
    n_items = sizes.short_prompt_items
    sweep = starter_sweep(line.scratch, "short_prompts", "short_answer", n_items)
    return _throughput(
        line, f"starter items, short prompts ({n_items} items)", sweep, sizes.short_prompt_repetitions
    )


def long_prompts(line: CommandLine, sizes: Sizes) -> list[Figure]:
    """Measure throughput where one arm has a long system prompt, made of the starter prompts."""
    shipped = shipped_config() / "prompts"
    write_config(
        line.scratch / "long_prompts",
        {
            "prompts/long.txt": long_treatment(_LONG_PROMPT_WORDS),
            "prompts/control.txt": (shipped / "control.txt").read_text(encoding="utf-8"),
            "prompts/long.yaml": yaml.safe_dump(
                {"name": "long", "control": "control.txt", "treatment": "long.txt"}
            ),
        },
    )
    n_items = sizes.long_prompt_items
    sweep = starter_sweep(line.scratch, "long_prompts", "long", n_items)
    workload = f"starter items, a treatment of {_LONG_PROMPT_WORDS} words ({n_items} items)"
    return _throughput(line, workload, sweep, sizes.long_prompt_repetitions)


def _throughput(line: CommandLine, workload: str, sweep: Path, repetitions: int) -> list[Figure]:
    through: dict[str, list[float]] = {"tokens": [], "inference_s": [], "trial_s": [], "command_s": []}
    bare_rates, slow_items, items_inference, items_trial = [], [], [], []
    n_items = 0
    for _ in range(repetitions):  # ours, bare, one by one; ours, bare, one by one; ...
        run = line.run(str(sweep))
        slug, trial = run.only_trial()
        spec = load_spec(run.folder)
        plan = load_plan(run.folder, spec)
        n_items = len(plan.items)
        inference_s = known(trial.timings.inference_s)
        trial_s = (known(trial.timings.ended) - known(trial.timings.started)).total_seconds()
        rows = list(read_rows(run.folder.trial(slug).journal))
        if not all(is_done(row) for row in rows):
            raise NotMeasuredError(f"{run.folder.path}: some requests failed")
        tokens = sum(row["completion_tokens"] for row in rows)
        for name, value in zip(through, (tokens, inference_s, trial_s, run.wall_s), strict=True):
            through[name].append(value)

        block = plan.blocks[0]
        settings = host_settings(block.model, fetch(block.model).path, block.context_tokens, spec.execution)
        requests = _requests(run.folder, plan, slug)
        bare = ask_bare([body for _, body in requests], settings, line.scratch / "bare")
        one_by_one = ask_one_by_one(_item_by_item(requests, plan), settings, line.scratch / "one_by_one")
        if not len(rows) == bare.n_answers == one_by_one.n_answers:
            raise NotMeasuredError(
                f"{len(rows)}, {bare.n_answers} and {one_by_one.n_answers} answers are not the same work"
            )
        say(
            f"{workload}: {len(rows)} requests in {inference_s:.1f} s, "
            f"bare {bare.wall_s:.1f} s, one by one {one_by_one.wall_s:.1f} s"
        )
        bare_rates.append(bare.completion_tokens / bare.wall_s)
        slow_items.append(60 * n_items / one_by_one.wall_s)
        items_inference.append(60 * n_items / inference_s)
        items_trial.append(60 * n_items / trial_s)

    def rate(seconds: str) -> Spread:
        return Spread(tuple(n / s for n, s in zip(through["tokens"], through[seconds], strict=True)))

    bare_engine = {
        "baseline": Spread(tuple(bare_rates)),
        "baseline_name": "bare engine, same host and requests",
    }
    slow = {"baseline": Spread(tuple(slow_items)), "baseline_name": "one request at a time, no prefix reuse"}
    n_requests = plan.n_requests
    return [
        Figure(
            name=f"tokens/s while generating; {workload}",
            unit="tokens/s",
            value=rate("inference_s"),
            target=Target(of="ratio", bound="at least", limit=0.95),
            note=f"{n_requests} requests, {settings.slots} at once, fresh hosts",
            **bare_engine,
        ),
        Figure(
            name=f"tokens/s over the whole trial; {workload}",
            unit="tokens/s",
            value=rate("trial_s"),
            note="requests built, draws generated, tables written and sealed",
            **bare_engine,
        ),
        Figure(
            name=f"the whole command; {workload}",
            unit="s",
            value=Spread(tuple(through["command_s"])),
            note="with the start of Prefect and of the model, the comparisons and the report",
        ),
        Figure(
            name=f"items/min while generating; {workload}",
            unit="items/min",
            value=Spread(tuple(items_inference)),
            target=Target(of="ratio", bound="at least", limit=3),
            note=f"an item is {n_requests // n_items} requests",
            **slow,
        ),
        Figure(
            name=f"items/min over the whole trial; {workload}",
            unit="items/min",
            value=Spread(tuple(items_trial)),
            **slow,
        ),
    ]


def _requests(folder: RunFolder, plan: Plan, slug: str) -> list[tuple[str, Body]]:
    """Return the custom ids and bodies of a trial's requests, in the order in which the run sends them."""
    rows = [
        json.loads(line)
        for part in plan.parts
        for line in (folder.batch_inputs(slug) / f"{part.name}.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    ]
    return [(row["custom_id"], row["body"]) for row in rows]


def _item_by_item(requests: Iterable[tuple[str, Body]], plan: Plan) -> list[Body]:
    """Return the bodies in the order of the items, both arms of an item one after the other."""
    position = {(item.dataset, item.item_id): number for number, item in enumerate(plan.items)}

    def place(request: tuple[str, Body]) -> tuple[int, float, str, int]:
        dataset, item_id, condition, temperature, draw, _ = split_custom_id(request[0])
        return position[dataset, item_id], temperature, condition, draw

    return [body for _, body in sorted(requests, key=place)]


# ---------------------------------------------------------------------------------------------- trials


def seconds_a_trial(line: CommandLine, sizes: Sizes) -> list[Figure]:
    """Measure what a trial costs beyond its inference, and how long a run takes until its first trial."""
    sweep = starter_sweep(
        line.scratch,
        "many_trials",
        "short_answer",
        _ITEMS_A_TRIAL,
        dry_run=True,
        sweep={"top_k": list(range(1, sizes.trials + 1))},
    )
    warm_up(line)
    through_prefect, library_alone, first_trial, all_in = [], [], [], []
    for number in range(sizes.trials_repetitions):
        run = line.run(str(sweep))
        ends = [known(trial.timings.ended) for trial in run.trials]
        # From one end to the next lies one whole trial: its subflow, its steps, its place in the manifest.
        through_prefect.append((ends[-1] - ends[0]).total_seconds() / (len(ends) - 1))
        to_first_s = (known(run.trials[0].timings.started) - run.began).total_seconds()
        first_trial.append(to_first_s)
        all_in.append((run.wall_s - to_first_s) / len(ends))
        say(f"{len(ends)} trials: {through_prefect[-1]:.2f} s each")
        library_alone.append(_library_alone(sweep, line.experiments, f"alone{number:03d}") / len(ends))
    library = {"baseline": Spread(tuple(library_alone)), "baseline_name": "the same steps without Prefect"}
    at_most_one = Target(of="value", bound="at most", limit=1.0)
    return [
        Figure(
            name=f"seconds a trial beyond inference ({sizes.trials} trials)",
            unit="s",
            value=Spread(tuple(through_prefect)),
            target=at_most_one,
            note=f"dry-run engine, embedded API, {_ITEMS_A_TRIAL} items; from end to end of consecutive trials",
            **library,
        ),
        Figure(
            name="the same with comparisons, reports and the end of the process shared out",
            unit="s",
            value=Spread(tuple(all_in)),
            target=at_most_one,
        ),
        Figure(
            name="from the command to the first trial",
            unit="s",
            value=Spread(tuple(first_trial)),
            note="imports, the embedded API, the plan",
        ),
    ]


def _library_alone(sweep: Path, experiments: Path, run_id: str) -> float:
    """Return the seconds that the steps of every trial take when they are called one after another."""
    value = yaml.safe_load(sweep.read_text(encoding="utf-8"))
    spec = resolve(PromptSweepSpec.model_validate(value), ConfigRoot.of_sweep(sweep))
    folder = create_run(spec, RunOptions(run_id=run_id, experiments_dir=experiments))
    plan = load_plan(folder, spec)
    started = time.perf_counter()
    for block in plan.blocks:
        for trial in block.trials:
            begin_trial(folder, trial.slug)
            build_requests(folder, plan, trial)
            engine = connect(block.model, spec.execution, folder.engines)
            generated = asyncio.run(generate(folder, plan, block, trial, engine, spec.execution))
            note_generated(folder, block, trial.slug, generated)
            own = folder.trial(trial.slug)
            write_predictions(own, plan, trial)
            write_scores(own, plan, trial, spec.experiment.unsupported, spec.experiment.scoring)
            write_costs(own, spec.execution.pricing, generated.inference_s)
            settle_trial(folder, trial.slug, count_draws(folder, plan, trial), StepRange())
    return time.perf_counter() - started


# ---------------------------------------------------------------------------------------------- memory


def peak_memory(line: CommandLine, sizes: Sizes) -> list[Figure]:
    """Measure the peak memory of the flow's process with few and with many items."""
    few, many = (made_up_sweep(line.scratch, n) for n in (sizes.few_items, sizes.many_items))
    warm_up(line)
    peaks: dict[Path, list[float]] = {few: [], many: []}
    for _ in range(sizes.memory_repetitions):
        for sweep in (few, many):
            said = line.scratch / "peak_bytes"
            line.run(str(sweep), peak_memory=said)
            peaks[sweep].append(int(said.read_text()) / 1e6)
            say(f"{sweep.stem}: {peaks[sweep][-1]:.0f} MB")
    return [
        Figure(
            name=f"peak memory of the flow's process, {sizes.many_items} items",
            unit="MB",
            value=Spread(tuple(peaks[many])),
            baseline=Spread(tuple(peaks[few])),
            baseline_name=f"{sizes.few_items} items",
            target=Target(of="ratio", bound="at most", limit=1.2),
            note="dry-run engine; of the process alone, without its children",
        )
    ]


# ------------------------------------------------------------------------------------------------ help


def help_page(line: CommandLine, _: Sizes) -> list[Figure]:
    """Measure how long ``overnight --help`` takes."""
    wall_s: dict[tuple[str, ...], list[float]] = {("-m", "overnight", "--help"): [], ("-c", "pass"): []}
    for arguments in wall_s:
        line.python(*arguments)  # compiled and read from disk once
    for _ in range(_HELP_RUNS):
        for arguments, seconds in wall_s.items():
            started = time.perf_counter()
            line.python(*arguments)
            seconds.append(time.perf_counter() - started)
    ours, bare = wall_s.values()
    return [
        Figure(
            name="overnight --help",
            unit="s",
            value=Spread(tuple(ours)),
            baseline=Spread(tuple(bare)),
            baseline_name="python -c pass",
            target=Target(of="value", bound="at most", limit=0.5),
        )
    ]


# ------------------------------------------------------------------------------------------------ main


PIECES: dict[str, Callable[[CommandLine, Sizes], list[Figure]]] = {
    "help": help_page,
    "short-prompts": short_prompts,
    "long-prompts": long_prompts,
    "trials": seconds_a_trial,
    "memory": peak_memory,
}


def main() -> int:
    """Measure, print, write; return 1 if something could not be measured, whatever the figures are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: noisy, for trying out")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write everything here as JSON")
    parser.add_argument("--only", choices=PIECES, action="append", help="measure this piece; may be repeated")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders and processes go away then, too
    load_before = load_average()
    print("min / median / max over repetitions; a ratio is value over baseline of the same repetition\n")
    figures: list[Figure] = []
    not_measured: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="overnight-benchmark-", ignore_cleanup_errors=True) as scratch:
        line = CommandLine(Path(scratch))
        for name in arguments.only or PIECES:
            try:
                taken = PIECES[name](line, sizes)
            except Exception as error:  # noqa: BLE001 - the other pieces are still worth measuring
                not_measured[name] = f"{type(error).__name__}: {error}"
                print(f"{name}: not measured: {not_measured[name]}\n", flush=True)
                continue
            figures += taken
            for figure in taken:
                print(*figure.lines(), "", sep="\n", flush=True)
    if arguments.out:
        write = partial(write_record, arguments.out, figures=figures, not_measured=not_measured)
        write(
            benchmark="prompt_sweep",
            settings={name: getattr(sizes, name) for name in Sizes.__slots__} | {"quick": arguments.quick},
            load_before=load_before,
        )
    return 1 if not_measured else 0


if __name__ == "__main__":
    sys.exit(main())
