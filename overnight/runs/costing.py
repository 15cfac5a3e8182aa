"""The costs step: tokens and seconds as measured, and what the same tokens would cost at a hosted service."""

from collections import Counter
from typing import Any

from overnight.records import Condition
from overnight.runs.tables import read_predictions
from overnight.spec.prompt_sweep import PricingSpec
from overnight.store.files import write_json
from overnight.store.run_folder import TrialFolder

_MILLION = 1_000_000


def write_costs(folder: TrialFolder, pricing: PricingSpec, inference_s: float | None) -> None:
    """Write ``costs.json`` from ``predictions.csv``; without token counts its sums are null."""
    sums: dict[str, Counter[str]] = {condition.value: Counter() for condition in Condition}
    for row in read_predictions(folder.predictions):
        arm = sums[row["condition"]]
        arm["n_draws"] += 1
        if row["prompt_tokens"] and row["completion_tokens"]:
            arm["n_records"] += 1
            arm["prompt_tokens"] += int(row["prompt_tokens"])
            arm["completion_tokens"] += int(row["completion_tokens"])
    total = sum(sums.values(), Counter[str]())
    write_json(
        folder.costs,
        _record(total, pricing)
        | {
            "inference_s": inference_s,
            "usage_source": "engine" if total["n_records"] else None,
            "by_condition": {name: _record(arm, pricing) for name, arm in sums.items() if arm["n_draws"]},
            "pricing": pricing.model_dump()
            | {"unit": "USD per million tokens", "note": "what a hosted service would ask; nothing was paid"},
        },
    )


def usd(prompt_tokens: int, completion_tokens: int, pricing: PricingSpec) -> float:
    """Return the price of some tokens in USD, without any discount."""
    return (
        prompt_tokens / _MILLION * pricing.input_per_million
        + completion_tokens / _MILLION * pricing.output_per_million
    )


def _record(sums: Counter[str], pricing: PricingSpec) -> dict[str, Any]:
    if not sums["n_records"]:
        tokens = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens", "usd_if_hosted"))
    else:
        prompt, completion = sums["prompt_tokens"], sums["completion_tokens"]
        tokens = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "usd_if_hosted": round(usd(prompt, completion, pricing), 6),
        }
    return {**tokens, "n_draws": sums["n_draws"], "usage_records": sums["n_records"]}
