"""Statistics of a table somebody has: written as JSON, printed as a short table."""

from pathlib import Path

from pydantic import ValidationError
from rich.table import Table

from overnight.cli.console import console
from overnight.errors import UsageError
from overnight.ids import temperature_label
from overnight.runs.table_statistics import arms_of_table, systems_of_table
from overnight.runs.wide_scores import is_wide
from overnight.spec.prompt_sweep import StatisticsSpec
from overnight.stats.compare import Comparison
from overnight.stats.paired import PairedStatistics
from overnight.stats.systems import SystemsComparison
from overnight.store.files import write_json

_PAIRS_SHOWN = 20


def show_statistics(
    table: Path, out_path: Path, *, metric: str | None, resamples: int, confidence: float, seed: int
) -> None:
    """Compare the arms, or the systems, of a table; write the result and print the main numbers.

    Raises:
        UsageError: a setting is out of range, or ``metric`` does not fit the table.
        StoreError: the table is missing or damaged.
    """
    try:
        settings = StatisticsSpec(resamples=resamples, confidence=confidence, seed=seed)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UsageError(f"--{problem['loc'][0]}: {problem['msg']}, not {problem['input']!r}") from None
    if is_wide(table):
        if metric is None:
            raise UsageError(
                f"{table} has no column condition, so it is a table of systems: say which metric with --metric "
                "(columns <system>:<metric>, or one a system)"
            )
        compared, record = systems_of_table(table, metric, settings)
        written = _write(out_path, "comparisons.json", record)
        _print_systems(compared)
    else:
        if metric is not None:
            raise UsageError(f"{table} has arms, of which every metric is compared; leave --metric out")
        comparisons, record = arms_of_table(table, settings)
        written = _write(out_path, "significance.json", record)
        _print_arms(comparisons)
    console().print(f"all numbers: {written}", highlight=False, soft_wrap=True)


def _write(out_path: Path, name: str, record: dict[str, object]) -> Path:
    path = out_path if out_path.suffix == ".json" else out_path / name
    try:
        write_json(path, record)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another --out_path") from None
    return path


def _print_arms(comparisons: list[Comparison]) -> None:
    table = _table(
        "temp", "type", "metric", "pairs", "control", "treatment", "difference", "interval", "p", "q"
    )
    for each in comparisons:
        table.add_row(
            temperature_label(each.temperature),
            each.type.value,
            each.metric,
            str(each.n_pairs),
            *_numbers(each),
        )
    console().print(table)
    _print_reasons([(f"{each.type.value} {each.metric}", each.undefined_because) for each in comparisons])


def _print_systems(compared: SystemsComparison) -> None:
    means = _table("system", "items", compared.metric, "interval")
    for mean in compared.systems:
        means.add_row(
            mean.system, str(mean.n_items), _number(mean.mean), _interval(mean.ci_low, mean.ci_high, "-")
        )
    console().print(means)
    pairs = _table("first", "second", "pairs", "first", "second", "difference", "interval", "p", "q")
    for pair in compared.pairs[:_PAIRS_SHOWN]:
        pairs.add_row(pair.first, pair.second, str(pair.n_pairs), *_numbers(pair))
    console().print(pairs)
    if (left := len(compared.pairs) - _PAIRS_SHOWN) > 0:
        console().print(f"and {left} more pairs in the file", highlight=False)
    q = compared.cochran
    shown = (
        f"Q {q.q:.4g}, df {q.df}, p {q.p_value:.3g}" if q.q is not None else f"none: {q.undefined_because}"
    )
    console().print(f"Cochran's Q over {q.n_items} items: {shown}", highlight=False, soft_wrap=True)
    _print_reasons([(f"{each.first}, {each.second}", each.undefined_because) for each in compared.pairs])


def _print_reasons(reasons: list[tuple[str, str | None]]) -> None:
    for name, reason in reasons:
        if reason:
            console().print(f"{name}: {reason}", highlight=False, markup=False, soft_wrap=True)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    words = {"temp", "type", "metric", "system"}
    for place, title in enumerate(titles):
        is_text = title in words or (titles[0] == "first" and place < 2)  # noqa: PLR2004 - two names
        table.add_column(title, justify="left" if is_text else "right", no_wrap=not is_text)
    return table


def _numbers(each: PairedStatistics) -> list[str]:
    return [
        _number(each.mean_control),
        _number(each.mean_treatment),
        "" if each.mean_difference is None else f"{each.mean_difference:+.4g}",
        _interval(each.ci_low, each.ci_high),
        "" if each.p_value is None else f"{each.p_value:.3g}",
        "" if each.q_value is None else f"{each.q_value:.3g}",
    ]


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"


def _interval(low: float | None, high: float | None, sign: str = "+") -> str:
    return "n/a" if low is None or high is None else f"{low:{sign}.4g} to {high:{sign}.4g}"
