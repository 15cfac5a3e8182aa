"""Records of benchmarks as one Markdown table: figure, baseline, ratio, target, verdict, and on what machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overnight.errors import UsageError
from overnight.store.files import read_json, write_text

_SCHEMA = 1
_HEAD = "| figure | measured | baseline | ratio | target | |"
_RULE = "|---|---|---|---|---|---|"
_GIB = 1 << 30


def write_table(records: Sequence[Path], path: Path, problems: Mapping[str, str] | None = None) -> None:
    """Write the table of some records.

    Args:
        records: that benchmarks wrote.
        path: of the Markdown file.
        problems: what could not be measured and why; None for what the records say of themselves.

    Raises:
        UsageError: a file is not such a record, or the table cannot be written.
    """
    text = render_table([read_record(record) for record in records], problems)
    try:
        write_text(path, text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another file") from None


def read_record(path: Path) -> dict[str, Any]:
    """Return what a benchmark wrote.

    Raises:
        UsageError: it is something else.
        StoreError: the file is missing or not JSON.
    """
    value = read_json(path)
    needed = {"benchmark", "at", "environment", "load_average", "settings", "figures", "not_measured"}
    if not isinstance(value, dict) or value.get("schema_version") != _SCHEMA or needed - value.keys():
        raise UsageError(
            f"{path}: found no record of a benchmark, wanted what `overnight bench PART --out FOLDER` writes"
        )
    return value


def render_table(records: Sequence[Mapping[str, Any]], problems: Mapping[str, str] | None = None) -> str:
    """Return a Markdown page with a section a record; every number is min / median / max over repetitions."""
    if problems is None:
        problems = {
            f"{record['benchmark']}, {piece}": why
            for record in records
            for piece, why in record["not_measured"].items()
        }
    lines = [
        "# Benchmarks: the last measurement",
        "",
        "Made by `overnight bench all`; not edited by hand. What each figure is, and what it does not say, stands in",
        "[`benchmarks/README.md`](../benchmarks/README.md), what was found in [`benchmarks.md`](benchmarks.md).",
        "Numbers are min / median / max over repetitions; a ratio is value over baseline of one repetition.",
        "",
    ]
    verdicts = [figure["verdict"] for record in records for figure in record["figures"] if figure["verdict"]]
    lines += [f"{verdicts.count('pass')} of {len(verdicts)} targets are kept.", ""]
    for record in records:
        lines += _section(record)
    if problems:
        lines += ["## Not measured", ""]
        lines += [f"- {name}: {_text(why)}" for name, why in problems.items()] + [""]
    return "\n".join(lines)


def _section(record: Mapping[str, Any]) -> list[str]:
    settings = {name: value for name, value in record["settings"].items() if value is not None}
    lines = [
        f"## {record['benchmark'].replace('_', ' ').replace('-', ' ').capitalize()}",
        "",
        f"{record['at']}, {_machine(record['environment'])}. Load {_load(record['load_average'])}.",
        f"Settings: {_text(', '.join(f'{name} {_setting(value)}' for name, value in settings.items()))}.",
        "",
    ]
    if record["figures"]:
        lines += [_HEAD, _RULE, *map(_row, record["figures"]), ""]
    return lines


def _row(figure: Mapping[str, Any]) -> str:
    baseline, target = figure["baseline"], figure["target"]
    note = f" ({figure['note']})" if figure["note"] else ""
    cells = [
        figure["name"] + note,
        f"{spread_text(figure['value'])} {figure['unit']}",
        f"{spread_text(baseline)} ({baseline['name']})" if baseline else "",
        spread_text(figure["ratio"]) if figure["ratio"] else "",
        f"{target['of']} {target['bound']} {target['limit']:g}" if target else "",
        f"**{figure['verdict']}**" if figure["verdict"] else "",
    ]
    return f"| {' | '.join(map(_text, cells))} |"


def spread_text(spread: Mapping[str, Any]) -> str:
    """Return min / median / max, or the one number where there is one."""
    if len(spread["values"]) == 1:
        return _number(spread["median"])
    return " / ".join(_number(spread[name]) for name in ("min", "median", "max"))


def _machine(environment: Mapping[str, Any]) -> str:
    packages = environment.get("packages") or {}
    gpus = [gpu["name"] for gpu in environment.get("gpus") or ()]
    memory = environment.get("memory_bytes")
    git = environment.get("git") or {}
    said = [
        f"{environment.get('cpu') or environment.get('machine')}, {environment.get('cores')} cores",
        f"{memory / _GIB:.0f} GiB" if memory else None,
        ", ".join(gpus) if gpus else "no GPU",
        environment.get("system"),
        f"Python {environment.get('python')}",
        *(f"{name} {version}" for name, version in packages.items() if version),
        f"commit {git['commit'][:12]}{' (changed)' if git.get('changed') else ''}"
        if git.get("commit")
        else None,
    ]
    return ", ".join(each for each in said if each)


def _load(load: Mapping[str, Any]) -> str:
    """Say how busy the machine was over the last minute, before and after."""
    before, after = ("unknown" if load.get(n) is None else f"{load[n][0]:.1f}" for n in ("before", "after"))
    return f"{before} before, {after} after"


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_setting(each)}" for name, each in value.items()) or "none"
    return str(value)


def _text(text: str) -> str:
    """Return a text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _number(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004 - four digits are enough
