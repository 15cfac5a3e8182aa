"""``overnight costs``: the price of tokens that stand in a file."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from overnight.cli.console import console
from overnight.errors import UsageError
from overnight.runs.costing import costs_record
from overnight.runs.usage_files import usage_of_json, usage_of_predictions
from overnight.spec.config_root import find_sweep
from overnight.spec.model import ModelSpec
from overnight.spec.pricing import PricingSpec
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, validate
from overnight.store.files import write_json


def price_files(
    pred_csv: Path | None,
    usage_json: Path | None,
    *,
    config: str | None,
    model: str | None,
    prices: dict[str, float | None],
    estimate: bool,
) -> dict[str, Any]:
    """Return what the tokens of a file would cost; a usage file wins over a table.

    Args:
        pred_csv: a ``predictions.csv``.
        usage_json: a usage file.
        config: a sweep whose ``execution.pricing`` is taken.
        model: whose row of the price table counts; the config's only model by default.
        prices: what the command line says instead; None where it says nothing.
        estimate: fill in answers without counts.

    Raises:
        UsageError: no file is named, or what is named cannot be read.
    """
    if usage_json is not None:
        usage = usage_of_json(usage_json)
    elif pred_csv is not None:
        usage = usage_of_predictions(pred_csv, estimate=estimate)
    else:
        raise UsageError("costs: no tokens to count; give --pred_csv FILE or --usage_json FILE")
    spec = _sweep(config) if config is not None else None
    pricing = spec.execution.pricing if spec else PricingSpec()
    name = model or (_only_model(spec) if spec else None)
    if model is not None and model not in pricing.table:
        known = ", ".join(sorted(pricing.table)) or "nothing; name a config that has one with --config"
        raise UsageError(f"--model {model}: execution.pricing.table does not have it; it has {known}")
    said = {key: value for key, value in prices.items() if value is not None}
    if said:
        # The command line speaks about these tokens: its prices stand in place of the row's, key by key.
        known_rates = pricing.rates(name)._asdict()
        known_rates.pop("is_from_table")
        pricing = validate(
            PricingSpec, known_rates | said | {"provider": pricing.provider}, "the command line"
        )
    record = costs_record(usage.sums, pricing, name)
    return {
        **record,
        "usage_source": usage.source if record["usage_records"] else None,
        "n_estimated": usage.n_estimated,
        "n_without_usage": usage.n_without,
    }


def show_costs(record: dict[str, Any], out_path: Path | None, *, as_json: bool) -> None:
    """Print the price of some tokens, and write it to a file if one is named."""
    if out_path is not None:
        _write(out_path, record)
    if as_json:
        print(json.dumps(record, indent=2, allow_nan=False))  # noqa: T201 - the terminal is our output
        return
    out = console()
    table = Table(box=None, pad_edge=False)
    for title in ("arm", "draws", "prompt tokens", "completion tokens", "USD if hosted"):
        table.add_column(title, justify="left" if title == "arm" else "right", no_wrap=True)
    for name, arm in [*record["by_condition"].items(), ("all", record)]:
        price = arm["usd_if_hosted"]
        tokens = [arm[key] for key in ("prompt_tokens", "completion_tokens")]
        table.add_row(
            name,
            f"{arm['n_draws']:,}",
            *("unknown" if count is None else f"{count:,}" for count in tokens),
            "unknown" if price is None else f"{price:,.6f}",
        )
    out.print(table)
    rates = record["pricing"]
    out.print(
        f"hypothetical: {rates['note']}; {rates['input_per_million']:g} and {rates['output_per_million']:g} USD per "
        f"million prompt and completion tokens, times {rates['batch_discount']:g}",
        highlight=False,
        soft_wrap=True,
    )
    if record["n_estimated"]:
        out.print(f"estimated: the tokens of {record['n_estimated']:,} answers, by the mean of their arm")
    if record["n_without_usage"]:
        out.print(f"{record['n_without_usage']:,} answers have no token counts and are in no sum")


def _write(path: Path, record: dict[str, Any]) -> None:
    try:
        write_json(path, record)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); name another --out_path") from None


def _sweep(config: str) -> PromptSweepSpec:
    path = find_sweep(config)
    return validate(PromptSweepSpec, read_mapping(path, "a sweep"), path)


def _only_model(spec: PromptSweepSpec) -> str | None:
    """Return the name of the model, where the sweep has no more than one."""
    experiment = spec.experiment
    named = [
        experiment.defaults.model,
        *((experiment.sweep and experiment.sweep.models) or ()),
        *(trial.model for trial in experiment.trials or ()),
    ]
    names = {model.name if isinstance(model, ModelSpec) else model for model in named if model is not None}
    return names.pop() if len(names) == 1 else None
