"""``overnight doctor``: what is wrong with a run, or with this machine, and what to change."""

import json
from pathlib import Path

from rich.console import Console

from overnight.cli.console import console
from overnight.diagnosis.diagnosing import Diagnosis, diagnose
from overnight.diagnosis.finding import Fact, Finding
from overnight.diagnosis.gathering import gather
from overnight.report.text import visible
from overnight.store.run_folder import find_run

_PLACES_SHOWN = 3


def examine_run(run: str, experiments: Path, *, as_json: bool) -> None:
    """Print what is wrong with a run, the worst first.

    Raises:
        UsageError: there is no such run.
        StoreError: its manifest cannot be read.
    """
    diagnosis = diagnose(gather(find_run(experiments, run)))
    if as_json:
        print(json.dumps(diagnosis.as_row(), indent=2, allow_nan=False))  # noqa: T201 - the terminal is our output
        return
    _print_diagnosis(console(), diagnosis)


def _print_diagnosis(out: Console, diagnosis: Diagnosis) -> None:
    found = diagnosis.findings
    verdict = f"{len(found)} finding{'s' * (len(found) != 1)}" if found else "nothing wrong was found"
    _say(out, f"run {diagnosis.run_id} ({diagnosis.state}): {verdict}")
    for number, finding in enumerate(found, start=1):
        _say(out, "")
        _print_finding(out, number, finding)
    _say(out, "")
    _say(out, "looked at:")
    for look in diagnosis.looks:
        if look.saw is not None:
            _say(out, f"  {look.name}: {look.saw}")
    blind = [look for look in diagnosis.looks if look.not_looked_because is not None]
    if blind or diagnosis.unread:
        _say(out, "not looked at:")
    for look in blind:
        _say(out, f"  {look.name}, because {look.not_looked_because}")
    for name, reason in diagnosis.unread:
        _say(out, f"  {name}, because it cannot be read ({reason})")
    if found:
        _say(out, "")
        _say(
            out,
            f"`overnight resume {diagnosis.run_id} --set KEY=VALUE` changes `execution`; the rest is a new run",
        )


def _print_finding(out: Console, number: int, finding: Finding) -> None:
    _say(out, f"{number}. {finding.name} ({finding.severity.value}): {finding.what}")
    places = ", ".join(finding.where[:_PLACES_SHOWN])
    more = f" and {len(finding.where) - _PLACES_SHOWN} more" if len(finding.where) > _PLACES_SHOWN else ""
    if places:
        _say(out, f"   in {places}{more}")
    for fact in finding.evidence:
        _say(out, f"   measured: {_measured(fact)}")
    for order, remedy in enumerate(finding.remedies, start=1):
        _say(out, f"   {order}) {remedy.text}")
    for each in finding.ineffective:
        _say(out, f"   does nothing: {each.what}: {each.why}")


def _measured(fact: Fact) -> str:
    value = fact.value if isinstance(fact.value, str) else f"{fact.value:,}"
    return f"{fact.name} {value} {fact.unit}".rstrip()


def _say(out: Console, text: str) -> None:
    out.print(visible(text), highlight=False, markup=False, soft_wrap=True)
