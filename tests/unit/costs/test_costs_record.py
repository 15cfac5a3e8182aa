from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from overnight.errors import UsageError
from overnight.runs.costing import add_usage, costs_record, local_cost, write_costs
from overnight.runs.tables import PREDICTION_COLUMNS, SCORE_COLUMNS
from overnight.spec.pricing import LocalTariff, PricingSpec
from overnight.spec.reading import validate
from overnight.store.files import read_json, write_text
from overnight.store.journal import Journal
from overnight.store.manifest import Energy
from overnight.store.run_folder import TrialFolder

TABLE = {"big": {"input_per_mtok": 3, "output_per_mtok": 15, "batch_discount": 0.5}}


def sums(prompt: int, completion: int) -> dict[str, Counter[str]]:
    arm: Counter[str] = Counter(n_draws=1)
    add_usage(arm, prompt, completion)
    return {"control": arm}


def test_the_published_run_costs_what_was_published() -> None:
    # golden.md 7: (44.8 M x .15 + 8.3 M x .60) x .5 = 11.70 x .5
    record = costs_record(sums(44_800_000, 8_300_000), PricingSpec(batch_discount=0.5), None)
    assert record["usd_if_hosted"] == pytest.approx(5.85, abs=1e-9)
    assert record["pricing"]["hosted_estimate"] is True
    assert "nothing was paid" in record["pricing"]["note"]


def test_no_discount_is_taken_unless_it_is_stated() -> None:
    # The original took half off local runs too.
    assert costs_record(sums(44_800_000, 8_300_000), PricingSpec(), None)["usd_if_hosted"] == 11.7


def test_a_model_of_the_table_costs_what_its_row_says() -> None:
    pricing = PricingSpec.model_validate({"provider": "p", "table": TABLE})
    record = costs_record(sums(1_000_000, 1_000_000), pricing, "big")
    assert record["usd_if_hosted"] == 9.0  # (3 + 15) / 2
    assert (record["pricing"]["is_from_table"], record["pricing"]["provider"]) == (True, "p")
    other = costs_record(sums(1_000_000, 1_000_000), pricing, "small")
    assert (other["usd_if_hosted"], other["pricing"]["is_from_table"]) == (0.75, False)


def test_a_row_without_a_discount_takes_that_of_the_table() -> None:
    row = {"input_per_mtok": 1, "output_per_mtok": 1}
    pricing = PricingSpec.model_validate({"table": {"m": row}, "batch_discount": 0.25})
    assert costs_record(sums(2_000_000, 2_000_000), pricing, "m")["usd_if_hosted"] == 1.0


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"batch_discount": 0}, "batch_discount"),
        ({"batch_discount": 1.5}, "batch_discount"),
        ({"table": {"m": {"input_per_mtok": 1}}}, "table.m.output_per_mtok"),
        ({"table": {"m": {"input_per_mtok": -1, "output_per_mtok": 1}}}, "table.m.input_per_mtok"),
        ({"local": {"watt": 3}}, "local.watt"),
        ({"local": {"usd_per_kwh": -0.1}}, "local.usd_per_kwh"),
    ],
)
def test_a_wrong_price_is_named_by_its_key(value: dict[str, Any], key: str) -> None:
    with pytest.raises(UsageError, match=key):
        validate(PricingSpec, value, "sweep.yaml")


def test_measured_energy_costs_the_tariff() -> None:
    # 7.2 MJ are 2 kWh; at .30 USD they cost .60; 4 right answers: .15 and 1.8 MJ each.
    tariff = LocalTariff(watts=9999, usd_per_kwh=0.30)
    cost = local_cost(tariff, 3600.0, Energy(joules=7_200_000.0), n_correct=4)
    assert (cost["usd"], cost["energy_j"], cost["energy_source"]) == (0.6, 7_200_000.0, "nvml")
    assert (cost["usd_per_correct"], cost["energy_j_per_correct"]) == (0.15, 1_800_000.0)
    assert cost["energy_is_assumed"] is False


def test_stated_watts_are_flagged_as_assumed() -> None:
    # 100 W for half an hour are 180 kJ = .05 kWh; plus half an hour at 2 USD
    cost = local_cost(
        LocalTariff(watts=100, usd_per_kwh=0.4, usd_per_hour=2.0),
        1800.0,
        Energy(undefined_because="no GPU"),
        n_correct=None,
    )
    assert (cost["energy_j"], cost["energy_source"], cost["energy_is_assumed"]) == (
        180_000.0,
        "assumed",
        True,
    )
    assert cost["usd"] == 1.02
    assert cost["usd_per_correct"] is None


@pytest.mark.parametrize(
    ("tariff", "seconds", "energy", "joules_reason", "money_reason"),
    [
        (LocalTariff(), 10.0, None, "watts is not set", "neither usd_per_kwh nor usd_per_hour"),
        (LocalTariff(usd_per_kwh=1), 10.0, Energy(undefined_because="no GPU"), "no GPU", "energy is unknown"),
        (LocalTariff(usd_per_hour=1), None, None, "no energy counter", "no seconds of inference"),
    ],
)
def test_what_is_unknown_is_null_with_its_reason(
    tariff: LocalTariff, seconds: float | None, energy: Energy | None, joules_reason: str, money_reason: str
) -> None:
    cost = local_cost(tariff, seconds, energy, n_correct=3)
    assert (cost["energy_j"], cost["energy_source"], cost["usd"], cost["usd_per_correct"]) == (None,) * 4
    assert joules_reason in cost["energy_undefined_because"]
    assert money_reason in cost["usd_undefined_because"]


def test_no_right_answer_has_no_price_per_right_answer() -> None:
    cost = local_cost(LocalTariff(usd_per_hour=1), 3600.0, None, n_correct=0)
    assert (cost["usd"], cost["usd_per_correct"]) == (1.0, None)


def _trial(folder: TrialFolder, *, cached: tuple[str, ...] = (), em: str | None = "1.0") -> None:
    ids = [f"d|{n}|{arm}|0.0|0|closed" for n in range(2) for arm in ("control", "treatment")]
    with Journal(folder.journal) as journal:
        journal.append(
            {"custom_id": name, "status": "ok"} | ({"cached": True} if name in cached else {}) for name in ids
        )
    rows = [
        dict.fromkeys(PREDICTION_COLUMNS, "")
        | {"custom_id": i, "condition": i.split("|")[2], "prompt_tokens": "100", "completion_tokens": "10"}
        for i in ids
    ]
    _write(folder.predictions, PREDICTION_COLUMNS, rows)
    if em is not None:
        scores = [
            dict.fromkeys(SCORE_COLUMNS, "")
            | {"condition": arm, "em": em if arm == "treatment" else "0.0", "n_samples": "1"}
            for arm in ("control", "treatment")
            for _ in range(2)
        ]
        _write(folder.scores, SCORE_COLUMNS, scores)


def _write(path: Path, columns: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    lines = [",".join(columns), *(",".join(row[column] for column in columns) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def test_tokens_of_cached_answers_are_counted_apart_and_priced_all_the_same(tmp_path: Path) -> None:
    # Nothing was computed for them here; a hosted service would have asked for them.
    folder = TrialFolder(tmp_path / "t")
    _trial(folder, cached=("d|0|control|0.0|0|closed", "d|1|control|0.0|0|closed"))
    write_costs(folder, PricingSpec(input_per_million=1, output_per_million=1), 1.0)
    costs = read_json(folder.costs)
    assert (costs["prompt_tokens"], costs["cached_prompt_tokens"], costs["cached_draws"]) == (400, 200, 2)
    assert costs["by_condition"]["treatment"]["cached_prompt_tokens"] == 0
    assert costs["by_condition"]["control"]["cached_completion_tokens"] == 20
    assert costs["usd_if_hosted"] == 0.00044


def test_the_price_of_a_right_answer_needs_scores(tmp_path: Path) -> None:
    folder, unscored = TrialFolder(tmp_path / "t"), TrialFolder(tmp_path / "u")
    _trial(folder)
    _trial(unscored, em=None)
    for each in (folder, unscored):
        write_costs(each, PricingSpec(input_per_million=100, output_per_million=0), 1.0)
    costs = read_json(folder.costs)
    assert (costs["n_correct"], costs["usd_if_hosted_per_correct"]) == (2, 0.02)  # 400 x 100e-6 / 2
    assert costs["by_condition"]["control"]["n_correct"] == 0
    assert costs["by_condition"]["control"]["usd_if_hosted_per_correct"] is None
    assert read_json(unscored.costs)["n_correct"] is None
