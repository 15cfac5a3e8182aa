"""What ``overnight cache`` prints and does."""

import json
from datetime import UTC, datetime
from typing import Any

import typer
from rich.table import Table

from overnight.cli.console import console
from overnight.errors import DamageFound, UsageError
from overnight.store.cache_checking import verify
from overnight.store.cache_clearing import clear
from overnight.store.cache_listing import cache_entries, summarise
from overnight.store.content_store import cache_folder

_DAY_S = 86_400


def show_caches(*, as_json: bool) -> None:
    """Print what is kept, kind by kind."""
    root = cache_folder()
    found = summarise(cache_entries(root))
    if as_json:
        rows = [
            {
                "kind": each.kind,
                "entries": each.entries,
                "answers": each.answers,
                "bytes": each.bytes,
                "oldest": each.oldest.isoformat(timespec="seconds"),
                "newest": each.newest.isoformat(timespec="seconds"),
            }
            for each in found
        ]
        _print_json({"folder": str(root), "kinds": rows})
        return
    _say(f"in {root}")
    if not found:
        _say("nothing is kept")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("kind")
    for title in ("entries", "answers", "size", "oldest", "newest"):
        table.add_column(title, justify="right")
    now = datetime.now(UTC)
    for each in found:
        table.add_row(
            each.kind,
            str(each.entries),
            "" if each.answers is None else str(each.answers),
            _size(each.bytes),
            _age(each.oldest, now),
            _age(each.newest, now),
        )
    console().print(table, highlight=False)


def verify_caches(kinds: list[str] | None, *, as_json: bool) -> None:
    """Check every entry and print what is wrong.

    Raises:
        UsageError: a kind is named that is not there.
        DamageFound: something is not what it was.
    """
    n_entries = 0
    problems = []
    for entry in cache_entries(cache_folder(), kinds):
        n_entries += 1
        problems += verify(entry)
    if as_json:
        rows = [{"kind": p.kind, "path": str(p.path), "found": p.found} for p in problems]
        _print_json({"folder": str(cache_folder()), "entries": n_entries, "problems": rows})
    else:
        for problem in problems:
            _say(f"{problem.kind}: {problem.path}: {problem.found}")
    if problems:
        n_broken = len({problem.path for problem in problems})
        raise DamageFound(
            f"{n_broken} of {n_entries} cache entries are damaged; none of them is used, "
            "and `overnight cache clear` takes them away with their kind"
        )
    if not as_json:
        _say(f"{n_entries} entries, all of them what was written")


def clear_caches(
    kinds: list[str] | None, *, everything: bool, older_than_days: float | None, is_sure: bool, as_json: bool
) -> None:
    """Take entries away and print what was freed.

    Raises:
        UsageError: it is not said what to clear, or it may not be taken away.
    """
    if everything and kinds:
        raise UsageError("--all means every kind; leave it out, or the kinds")
    if not (everything or kinds or older_than_days is not None):
        raise UsageError("nothing to clear; name a kind (`overnight cache ls`), --older-than DAYS or --all")
    now = datetime.now(UTC)
    chosen = [
        entry
        for entry in cache_entries(cache_folder(), kinds)
        if older_than_days is None or entry.age_days(now) >= older_than_days
    ]
    if chosen and not is_sure:
        total = _size(sum(entry.bytes for entry in chosen))
        typer.confirm(f"take {len(chosen)} entries ({total}) out of {cache_folder()}?", abort=True, err=True)
    cleared = clear(chosen)
    if as_json:
        rows = [{"kind": c.kind, "entries": c.entries, "bytes": c.bytes, "in_use": c.in_use} for c in cleared]
        _print_json({"folder": str(cache_folder()), "cleared": rows})
        return
    for each in cleared:
        left = f"; {each.in_use} in use, left alone" if each.in_use else ""
        _say(f"{each.kind}: {each.entries} entries, {_size(each.bytes)} freed{left}")
    if not cleared:
        _say("nothing to clear")


def _size(n_bytes: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes} B"


def _age(moment: datetime, now: datetime) -> str:
    seconds = max(0.0, (now - moment).total_seconds())
    if seconds >= _DAY_S:
        return f"{seconds / _DAY_S:.0f} d"
    return f"{seconds / 3600:.0f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - an hour


def _say(text: str) -> None:
    console().print(text, highlight=False, markup=False, soft_wrap=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))  # noqa: T201 - the terminal is our output
