"""The costs step: tokens, seconds and joules as measured, and what the same tokens would cost elsewhere."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from overnight.errors import StoreError
from overnight.records import Condition
from overnight.runs.tables import read_predictions, read_scores
from overnight.spec.pricing import LocalTariff, PricingSpec, Rates
from overnight.store.files import write_json
from overnight.store.journal import is_done, read_rows
from overnight.store.manifest import Energy
from overnight.store.run_folder import TrialFolder

_SECONDS_PER_HOUR = 3600
_JOULES_PER_KWH = 3_600_000
HOSTED_NOTE = "what a hosted service would ask for the same tokens; nothing was paid to anybody"

Sums = dict[str, Counter[str]]  # by arm


def write_costs(
    folder: TrialFolder,
    pricing: PricingSpec,
    inference_s: float | None,
    *,
    model: str | None = None,
    energy: Energy | None = None,
) -> None:
    """Write ``costs.json`` from ``predictions.csv``; without token counts its sums are null.

    Args:
        folder: of the trial.
        pricing: hosted prices and the local tariff.
        inference_s: seconds of generation, over all stretches.
        model: whose row of the price table counts.
        energy: what the GPUs used meanwhile; None where nobody looked.
    """
    cached = _cached_ids(folder)
    sums: Sums = {condition.value: Counter() for condition in Condition}
    for row in read_predictions(folder.predictions):
        arm = sums[row["condition"]]
        arm["n_draws"] += 1
        if row["prompt_tokens"] and row["completion_tokens"]:
            is_cached = row["custom_id"] in cached
            add_usage(arm, int(row["prompt_tokens"]), int(row["completion_tokens"]), is_cached=is_cached)
    _count_correct(folder, sums)
    write_json(
        folder.costs,
        costs_record(sums, pricing, model)
        | {
            "usage_source": "engine" if any(arm["usage_records"] for arm in sums.values()) else None,
            "inference_s": inference_s,
            "local": local_cost(pricing.local, inference_s, energy, _n_correct(sums)),
        },
    )


def add_usage(
    arm: Counter[str], prompt_tokens: int, completion_tokens: int, *, is_cached: bool = False
) -> None:
    """Add one answer to the sums of its arm."""
    arm["usage_records"] += 1
    arm["prompt_tokens"] += prompt_tokens
    arm["completion_tokens"] += completion_tokens
    if is_cached:
        arm["cached_draws"] += 1
        arm["cached_prompt_tokens"] += prompt_tokens
        arm["cached_completion_tokens"] += completion_tokens


def costs_record(sums: Mapping[str, Counter[str]], pricing: PricingSpec, model: str | None) -> dict[str, Any]:
    """Return the tokens of some arms, together and apart, and their price at a hosted service."""
    rates = pricing.rates(model)
    total = sum(sums.values(), Counter[str]())
    return {
        **_record(total, rates),
        "by_condition": {
            name: _record(arm, rates) for name, arm in sums.items() if arm["n_draws"] or arm["usage_records"]
        },
        "pricing": pricing_record(pricing, model),
    }


def pricing_record(pricing: PricingSpec, model: str | None) -> dict[str, Any]:
    """Return the prices that a model's tokens are counted at, and whose they are."""
    rates = pricing.rates(model)
    return {
        "hosted_estimate": True,
        "provider": pricing.provider,
        "model": model,
        "is_from_table": rates.is_from_table,
        "input_per_million": rates.input_per_million,
        "output_per_million": rates.output_per_million,
        "batch_discount": rates.batch_discount,
        "unit": "USD per million tokens, times batch_discount",
        "note": HOSTED_NOTE,
    }


def local_cost(
    tariff: LocalTariff, inference_s: float | None, energy: Energy | None, n_correct: int | None
) -> dict[str, Any]:
    """Return what generating cost here: measured seconds, and joules that were measured or are assumed.

    Energy is taken from the GPUs' counters (whole devices, nothing else of the machine), else from the stated
    watts times the measured seconds, else it is null with the reason. Money is energy x ``usd_per_kwh`` plus
    hours x ``usd_per_hour``, of whichever was stated.
    """
    joules, source = (energy.joules, energy.source or "nvml") if energy else (None, None)
    if joules is None and tariff.watts is not None and inference_s is not None:
        joules, source = tariff.watts * inference_s, "assumed"
    missing = None
    if joules is None:
        source = None
        why = (energy and energy.undefined_because) or "no energy counter was read"
        missing = f"{why}, and execution.pricing.local.watts is not set"
    parts = []
    if joules is not None and tariff.usd_per_kwh is not None:
        parts.append(joules / _JOULES_PER_KWH * tariff.usd_per_kwh)
    if inference_s is not None and tariff.usd_per_hour is not None:
        parts.append(inference_s / _SECONDS_PER_HOUR * tariff.usd_per_hour)
    money = sum(parts) if parts else None
    return {
        "inference_s": inference_s,
        "energy_j": None if joules is None else round(joules, 3),
        "energy_source": source,
        "energy_is_assumed": None if source is None else source == "assumed",
        "energy_undefined_because": missing,
        "usd": None if money is None else round(money, 6),
        "usd_undefined_because": None if parts else _why_no_money(tariff, inference_s),
        "n_correct": n_correct,
        "energy_j_per_correct": _per(joules, n_correct),
        "usd_per_correct": _per(money, n_correct),
        "tariff": tariff.model_dump(),
    }


def _why_no_money(tariff: LocalTariff, inference_s: float | None) -> str:
    if tariff.usd_per_kwh is None and tariff.usd_per_hour is None:
        return "execution.pricing.local has neither usd_per_kwh nor usd_per_hour"
    if inference_s is None:
        return "no seconds of inference were measured"
    return "the energy is unknown"


def _per(amount: float | None, n_correct: int | None) -> float | None:
    return round(amount / n_correct, 6) if amount is not None and n_correct else None


def _record(sums: Counter[str], rates: Rates) -> dict[str, Any]:
    n_correct = _n_correct({"": sums})
    names = ("prompt_tokens", "completion_tokens", "cached_prompt_tokens", "cached_completion_tokens")
    tokens: dict[str, Any] = dict.fromkeys((*names, "total_tokens", "usd_if_hosted"))
    price = None
    if sums["usage_records"]:
        price = rates.usd(sums["prompt_tokens"], sums["completion_tokens"])
        tokens |= {name: sums[name] for name in names}
        tokens |= {
            "total_tokens": sums["prompt_tokens"] + sums["completion_tokens"],
            "usd_if_hosted": round(price, 6),
        }
    return {
        **tokens,
        "n_draws": None if sums["usage_records"] > sums["n_draws"] else sums["n_draws"],
        "usage_records": sums["usage_records"],
        "cached_draws": sums["cached_draws"],
        "n_correct": n_correct,
        "usd_if_hosted_per_correct": _per(price, n_correct),
    }


def _cached_ids(folder: TrialFolder) -> set[str]:
    """Return the draws whose answers were taken from the request cache: nothing was computed for them here."""
    answered: set[str] = set()
    cached: set[str] = set()
    for row in read_rows(folder.journal):
        if is_done(row) and row["custom_id"] not in answered:
            answered.add(row["custom_id"])
            if row.get("cached"):
                cached.add(row["custom_id"])
    return cached


def _count_correct(folder: TrialFolder, sums: Sums) -> None:
    """Add the number of draws that are right by exact match, where the scores are there."""
    try:
        for row in read_scores(folder.scores):
            arm = sums[row["condition"]]
            arm["n_scored"] += 1
            if row["em"]:
                arm["n_correct"] += round(float(row["em"]) * int(row["n_samples"]))
    except StoreError:
        for arm in sums.values():  # the score step was not run, or its table is damaged: nothing is known
            arm["n_scored"] = arm["n_correct"] = 0


def _n_correct(sums: Mapping[str, Counter[str]]) -> int | None:
    total = sum(sums.values(), Counter[str]())
    return total["n_correct"] if total["n_scored"] else None
