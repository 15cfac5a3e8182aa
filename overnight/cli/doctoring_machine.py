"""``overnight doctor`` without a run: what is to be known of this machine before a night."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

from overnight.cli.console import console
from overnight.diagnosis.machine import CHECKS
from overnight.diagnosis.machine.check import Check, Status, Surroundings
from overnight.diagnosis.machine.checking import check_machine
from overnight.report.text import visible
from overnight.store.content_store import cache_folder


def examine_machine(experiments: Path, *, is_online: bool, as_json: bool) -> None:
    """Print what every check found, and leave with 1 where one found a problem."""
    around = Surroundings(
        experiments=experiments,
        cache=cache_folder(),
        config=Path("config"),
        environment=os.environ,
        is_online=is_online,
    )
    checks = check_machine(around, CHECKS)
    if as_json:
        rows = [check.as_row() for check in checks]
        print(json.dumps({"schema_version": 1, "checks": rows}, indent=2, allow_nan=False))  # noqa: T201
    else:
        _print(checks)
    if any(check.status is Status.PROBLEM for check in checks):
        sys.exit(1)


def _print(checks: list[Check]) -> None:
    out = console()
    width = max(len(check.name) for check in checks)
    for check in checks:
        line = f"{check.status.value:<8}{check.name:<{width}}  {check.what}"
        out.print(visible(line), highlight=False, markup=False, soft_wrap=True)
        if check.remedy is not None:
            out.print(
                visible(f"{'':<{width + 10}}-> {check.remedy}"), highlight=False, markup=False, soft_wrap=True
            )
    counts = Counter(check.status for check in checks)
    out.print(
        f"{counts[Status.OK]} ok, {counts[Status.NOTE]} notes, {counts[Status.PROBLEM]} problems",
        highlight=False,
    )
