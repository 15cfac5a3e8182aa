"""``overnight audit-prompts``: what can be said of system prompts before anything is asked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from overnight.cli.console import console
from overnight.engines.sources import with_digest
from overnight.errors import OvernightError, UsageError
from overnight.prompting.audit import TokenRatio, audit
from overnight.records import ItemType
from overnight.spec.config_root import ConfigRoot, find_sweep
from overnight.spec.dataset import DatasetSpec
from overnight.spec.model import ModelSpec
from overnight.spec.pricing import PricingSpec
from overnight.spec.prompt_set import PromptSet
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, validate
from overnight.store.files import write_json
from overnight.telemetry.rates import read_rates

_YAML = (".yaml", ".yml")


def audit_named(
    names: Sequence[str], *, model: str | None, input_per_million: float | None
) -> dict[str, Any]:
    """Return the audit of some sweeps and prompt sets; of all that are configured where none is named.

    Args:
        names: of sweeps or prompt sets, or paths of their files.
        model: whose tokens are counted, by the ratio that earlier runs measured; a sweep's first by default.
        input_per_million: USD per million prompt tokens; a sweep's ``execution.pricing`` by default.

    Raises:
        UsageError: nothing has such a name, or its file is wrong.
    """
    root = ConfigRoot(Path("config"))
    sets: dict[str, PromptSet] = {}
    sweeps: list[tuple[PromptSweepSpec, ConfigRoot]] = []
    for name in names or root.names("prompts"):
        found = _sets_of(name, root, sweeps)
        for each in found:
            if sets.setdefault(each.name, each).identity() != each.identity():
                raise UsageError(
                    f"audit-prompts: two prompt sets are named {each.name!r}; audit them one by one"
                )
    spec, root = sweeps[0] if sweeps else (None, root)
    pricing = spec.execution.pricing if spec else PricingSpec()
    chosen = model or (_first_model(spec) if spec else None)
    rates = pricing.rates(chosen.name if isinstance(chosen, ModelSpec) else chosen)
    if input_per_million is not None:
        said = validate(PricingSpec, {"input_per_million": input_per_million}, "--input-per-million")
        rates = rates._replace(input_per_million=said.input_per_million)
    return audit(
        list(sets.values()),
        _others(sets, root),
        types=_types(sweeps),
        ratio=_ratio(chosen, root),
        rates=rates,
    )


def show_audit(record: dict[str, Any], out_json: Path | None, *, as_json: bool) -> None:
    """Print an audit, and write it to a file if one is named."""
    if out_json is not None:
        try:
            write_json(out_json, record)
        except OSError as error:
            raise UsageError(f"{out_json}: cannot be written ({error.strerror}); name another file") from None
    if as_json:
        print(json.dumps(record, indent=2, allow_nan=False))  # noqa: T201 - the terminal is our output
        return
    out = console()
    out.print(_table(record))
    for line in _lines(record):
        out.print(line, highlight=False, soft_wrap=True, markup=False)
    _print_verdict(out, record)


def _table(record: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    numbers = ("words", "characters", "tokens, about", "USD per 1,000 requests")
    for title in ("prompt set", "arm", *numbers, "sha256"):
        table.add_column(title, no_wrap=True, justify="right" if title in numbers else "left")
    for each in record["prompt_sets"]:
        for arm, size in each["arms"].items():
            table.add_row(
                each["name"],
                arm,
                f"{size['words']:,}",
                f"{size['characters']:,}",
                f"{size['tokens_estimated']:,}",
                f"{size['usd_per_1000_requests_if_hosted']:.4f}",
                size["sha256"][:12],
            )
    return table


def _lines(record: dict[str, Any]) -> list[str]:
    lines = [f"tokens are an estimate ({record['token_basis']}); the price is hypothetical, nothing was paid"]
    for each in record["prompt_sets"]:
        if each["arms_are_the_same"]:
            lines.append(
                f"{each['name']}: control and treatment are the same text: no difference can be found"
            )
        lines += [
            f"{each['name']}, {finding['arm']} ({' and '.join(finding['types'])} items): {finding['rule']}: "
            f"{finding['message']}; in: {finding['quote']}"
            for finding in each["findings"]
        ]
        if length := each["length"]:
            lines.append(f"{each['name']}: {_length_line(length)}")
    return lines


def _length_line(length: dict[str, Any]) -> str:
    if length["matches"] is None:
        return f"length unknown: {length['undefined_because']}"
    verdict = "matches" if length["is_matched"] else "does NOT match"
    note = f"; {length['undefined_because']}" if length["undefined_because"] else ""
    return (
        f"its length {verdict} that of {length['matches']} within 10 % "
        f"(words x {length['words_ratio']:g}, characters x {length['characters_ratio']:g}){note}"
    )


def _print_verdict(out: Console, record: dict[str, Any]) -> None:
    sets = record["prompt_sets"]
    n_findings = sum(len(each["findings"]) for each in sets)
    n_unmatched = sum(each["length"] is not None and not each["length"]["is_matched"] for each in sets)
    out.print(
        f"{len(sets)} prompt sets, {n_findings} contradictions, {n_unmatched} unmatched lengths",
        highlight=False,
    )


def _sets_of(
    name: str, root: ConfigRoot, sweeps: list[tuple[PromptSweepSpec, ConfigRoot]]
) -> list[PromptSet]:
    """Return the prompt sets that a word means; a sweep is noted as well."""
    path = Path(name).expanduser()
    is_file = path.suffix in _YAML
    if is_file and path.is_file():
        value = read_mapping(path, "a sweep or a prompt set")
        if "control" in value or "treatment" in value:
            return [ConfigRoot.prompt_set_of(path)]
    elif not is_file and name in root.names("prompts"):
        return [root.prompt_set(name)]
    elif not is_file and name not in root.names("sweeps"):
        known = ", ".join(root.names("prompts"))
        raise UsageError(
            f"audit-prompts: no sweep and no prompt set {name!r}; prompt sets: {known or 'none'}"
        )
    sweep = find_sweep(name)
    spec = validate(PromptSweepSpec, read_mapping(sweep, "a sweep"), sweep)
    own = ConfigRoot.of_sweep(sweep)
    sweeps.append((spec, own))
    experiment = spec.experiment
    named = [
        experiment.defaults.prompt_set,
        *((experiment.sweep and experiment.sweep.prompt_sets) or ()),
        *(trial.prompt_set for trial in experiment.trials or ()),
    ]
    sets = [own.prompt_set(each) if isinstance(each, str) else each for each in named if each is not None]
    if not sets:
        raise UsageError(f"{sweep}: names no prompt set; add experiment.sweep.prompt_sets")
    return sets


def _others(sets: dict[str, PromptSet], root: ConfigRoot) -> dict[str, PromptSet]:
    """Return the sets whose length another one says that it has, where they are not audited themselves."""
    wanted = {each.matches_length_of for each in sets.values() if each.matches_length_of is not None}
    known = root.names("prompts")
    return {name: root.prompt_set(name) for name in sorted(wanted - sets.keys()) if name in known}


def _types(sweeps: Sequence[tuple[PromptSweepSpec, ConfigRoot]]) -> list[ItemType]:
    """Return the types of the items of some sweeps; both where there is no sweep."""
    found = {
        (dataset if isinstance(dataset, DatasetSpec) else root.dataset(dataset)).type
        for spec, root in sweeps
        for dataset in spec.experiment.datasets
    }
    return [kind for kind in ItemType if not found or kind in found]


def _first_model(spec: PromptSweepSpec) -> str | ModelSpec | None:
    experiment = spec.experiment
    named = [
        *((experiment.sweep and experiment.sweep.models) or ()),
        experiment.defaults.model,
        *(trial.model for trial in experiment.trials or ()),
    ]
    return next((model for model in named if model is not None), None)


def _ratio(model: str | ModelSpec | None, root: ConfigRoot) -> TokenRatio:
    """Return how many tokens a byte is for a model, by what earlier runs counted; assumed where none did."""
    if model is None:
        return TokenRatio()
    spec = root.model(model) if isinstance(model, str) else model
    try:
        found = with_digest(spec)
    except OvernightError:
        return TokenRatio()  # its weights are not here, so nothing of it was measured here
    measured = [rate.measurement for rate in read_rates(found.sha256, found.engine.value)]
    n_bytes = sum(each.prompt_bytes for each in measured)
    n_tokens = sum(each.prompt_tokens for each in measured)
    if not (n_bytes and n_tokens):
        return TokenRatio()
    n_requests = sum(each.n_requests for each in measured)
    return TokenRatio(
        tokens_per_byte=n_tokens / n_bytes,
        basis=f"{found.name} came to {n_tokens / n_bytes:.3f} tokens a byte over {n_requests:,} measured prompts",
    )
