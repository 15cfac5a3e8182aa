"""``overnight bench capture``: one load against one for every prompt and trait, by the clock."""

from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from overnight.activations.bench import CaptureBench, Way, bench_capture
from overnight.cli.console import console
from overnight.cli.fitting import find_model
from overnight.datasets.reading import read_items
from overnight.errors import UsageError
from overnight.spec.config_root import ConfigRoot
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.store.files import write_json
from overnight.telemetry.environment import machine_identity

_GROUPS = ("uncertainty_prompts", "commitment_prompts", "cognitive_prompts", "sycophancy_prompts")


def show_capture_bench(
    model: str, n_prompts: int, n_traits: int, max_new_tokens: int, path: Path | None
) -> None:
    """Measure, print a table, and write the numbers where that is asked for.

    Raises:
        UsageError: the model cannot be found, or shows no activations.
    """
    found, prompts = what_is_captured(model, n_prompts)
    bench = bench_capture(found, prompts, n_traits, max_new_tokens, Execution())
    out = console()
    out.print(_table(bench), highlight=False)
    out.print(
        f"T1 / T2 = {bench.ratio:.1f}; with reading every layer, sublayer and trait {bench.speed_with_reading:.2f} of "
        f"the tokens a second of plain batched generation",
        highlight=False,
        soft_wrap=True,
    )
    if path is not None:
        record = asdict(bench) | {
            "model": found.name,
            "machine": machine_identity(),
            "ratio": bench.ratio,
            "speed_with_reading": bench.speed_with_reading,
        }
        write_json(path, record)


def what_is_captured(model: str, n_prompts: int) -> tuple[ModelSpec, list[str]]:
    """Return the model, and the first of the shipped prompts.

    Raises:
        UsageError: the model cannot be found, or shows no activations.
    """
    found = find_model(model)
    if found.engine is not EngineKind.TRANSFORMERS:
        raise UsageError(
            f"model {found.name}: engine {found.engine.value} shows no activations; name another model"
        )
    root = ConfigRoot(Path("config"))
    return found, [item.question for name in _GROUPS for item in read_items(root.dataset(name))][:n_prompts]


def _table(bench: CaptureBench) -> Table:
    table = Table(
        title=f"{bench.n_prompts} prompts x {bench.n_traits} traits, up to {bench.max_new_tokens} tokens",
        box=None,
    )
    for head in ("", "seconds", "loads", "of them loading, s", "passes", "tokens generated"):
        table.add_column(head, justify="left" if not head else "right")
    for name, way in (("a process each (T1)", bench.apart), ("one load (T2)", bench.together)):
        table.add_row(name, *_cells(way))
    return table


def _cells(way: Way) -> list[str]:
    return [f"{way.seconds:.1f}", str(way.loads), f"{way.load_s:.1f}", str(way.passes), str(way.tokens)]
