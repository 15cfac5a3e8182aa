import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from overnight.planning.plan import Plan, make_plan
from overnight.records import Item, ItemType
from overnight.runs import analysing
from overnight.runs.analysing import analyse_trial
from overnight.runs.parsing import write_predictions
from overnight.runs.scoring import write_scores
from overnight.runs.tables import PREDICTION_COLUMNS, SCORE_COLUMNS, read_scores
from overnight.spec.prompt_sweep import Analysis, PromptSweepSpec, StatisticsSpec, UnsupportedSpec
from overnight.store.files import write_text
from overnight.store.journal import Journal
from overnight.store.run_folder import RunFolder

Analysed = Callable[..., dict[str, Any]]
RIGHT, WRONG, UNKNOWN = "Ada", "Bert went away", "I don't know."


def passages(n: int) -> list[Item]:
    """Return open items, every other one unanswerable, two on each passage."""
    return [
        Item(
            dataset="passages" if i % 4 < 2 else "more",
            item_id=f"o{i}",
            type=ItemType.OPEN,
            question="Who?",
            answers=() if i % 2 else ("Ada",),
            context=f"Ada lives in house {i // 2}.",
        )
        for i in range(n)
    ]


@pytest.fixture
def analysed(tmp_path: Path, make_spec: Callable[..., PromptSweepSpec]) -> Analysed:
    """Return a maker of runs: replies by (item, condition, temperature) in, the six records out."""

    def make(
        items: list[Item],
        reply: Callable[[Item, str, float], str | None],
        *,
        confidence: Callable[[Item, str], float | None] = lambda _item, _condition: None,
        tokens: tuple[int | None, int | None] = (10, 20),  # of a prompt: control, treatment
        temps: tuple[float, ...] = (0.0,),
        condition: str = "both",
        **statistics: Any,
    ) -> dict[str, Any]:
        spec = make_spec(
            {"condition": condition},
            sweep={"temps": list(temps)},
            statistics={"resamples": 50} | statistics,
        )
        plan = make_plan(spec, items)
        folder = RunFolder(tmp_path / "run_r")
        place = folder.trial(plan.trials[0].slug)
        place.journal.unlink(missing_ok=True)
        rows = []
        for item in plan.items:
            for arm in plan.trials[0].arms(plan.conditions):
                name = f"{item.key}|{arm.condition}|{arm.temperature}|0|{item.type}"
                text = reply(item, arm.condition.value, arm.temperature)
                prompt = None if text is None else tokens[arm.condition == "treatment"]
                rows.append(
                    {
                        "custom_id": name,
                        "status": "error" if text is None else "ok",
                        "request_id": name,
                        "finish_reason": "error" if text is None else "stop",
                        "text": text,
                        "prompt_tokens": prompt,
                        "completion_tokens": None if prompt is None else 5,
                        "trial": plan.trials[0].slug,
                    }
                )
        with Journal(place.journal) as journal:
            journal.append(rows)
        write_predictions(place, plan, plan.trials[0])
        write_scores(place, plan, plan.trials[0], UnsupportedSpec())
        add_columns(place.scores, {item.key: item for item in items}, confidence)
        failures = analyse_trial(folder, plan, plan.trials[0].slug, spec)
        names = [*spec.experiment.statistics.analyses]
        records = {
            name: json.loads(place.analysis(name).read_text(), parse_constant=refuse) for name in names
        }
        return records | {"failures": failures, "place": place}

    return make


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def add_columns(path: Path, items: dict[str, Item], confidence: Callable[[Item, str], float | None]) -> None:
    """Fill the columns of a table that an engine with log-probabilities gives."""
    rows = list(read_scores(path))
    columns = dict.fromkeys((*SCORE_COLUMNS, "confidence", "cluster"))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(columns))
        table.writeheader()
        for row in rows:
            item = items[row["item_key"]]
            sure = confidence(item, row["condition"])
            row |= {"cluster": item.context or item.key, "confidence": "" if sure is None else repr(sure)}
            table.writerow(row)


def by_index(item: Item) -> int:
    return int(item.item_id[1:])


def mixed(item: Item, condition: str, temperature: float) -> str:
    """Return replies of every kind, other ones in each arm, the same at every call."""
    rng = np.random.default_rng([by_index(item), condition == "treatment", int(10 * temperature)])
    return str(rng.choice([RIGHT, WRONG, UNKNOWN, ""], p=[0.4, 0.3, 0.2, 0.1]))


def sureness(item: Item, condition: str) -> float:
    return float(np.random.default_rng([by_index(item), condition == "treatment"]).random())


def test_every_analysis_is_a_file_of_strict_json(analysed: Analysed) -> None:
    found = analysed(passages(60), mixed, confidence=sureness, temps=(0.0, 0.7))
    assert found["failures"] == {}
    for name in get_args(Analysis):
        assert found[name]["schema_version"] == 1
        assert found[name]["undefined_because"] is None
    both = found["selective_risk"]["results"]["0.0"]["open"]
    assert 0 < both["control"]["aurc"] < 1
    low, high = both["difference"]["auroc_ci"]
    assert low < high
    assert found["subgroups"]["results"]["0.7"]["open"]["dataset"]["em"]["pooled"]["n_pooled"] == 2
    assert "treatment" in found["mixed_models"]["results"]["open"]["gee_em"]["terms"]


# None is a request that failed: then there is no score at all.
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("reply", [RIGHT, WRONG, UNKNOWN, "", None])
def test_few_items_or_equal_replies_give_nulls_with_reasons(
    analysed: Analysed, n: int, reply: str | None
) -> None:
    found = analysed(passages(n), lambda *_: reply)
    assert found["failures"] == {}
    missing = [name for name in get_args(Analysis) for _ in unexplained(found[name])]
    assert missing == []


def unexplained(value: Any) -> list[Any]:
    """Return the objects in which something is null and nothing says why."""
    if isinstance(value, list):
        return [bad for each in value for bad in unexplained(each)]
    if not isinstance(value, dict):
        return []
    reasons = {key for key in value if key.endswith("undefined_because")}
    gaps = (
        {key for key, each in value.items() if each is None} - reasons - {"working_correlation", "provider"}
    )
    bad = [value] if gaps and not any(value[key] for key in reasons) else []
    return bad + [found for each in value.values() for found in unexplained(each)]


def test_abstentions_are_not_covered_and_never_raise_accuracy(analysed: Analysed) -> None:
    # Items 0..7: the even ones are answered right, the odd (unanswerable) ones 1, 3 wrongly, 5, 7 abstained.
    def reply(item: Item, *_: Any) -> str:
        i = by_index(item)
        return RIGHT if i % 2 == 0 else WRONG if i < 4 else UNKNOWN

    # The wrong answers are the least confident: 4 right, then 2 wrong.
    record = analysed(passages(8), reply, confidence=lambda i, _: 0.2 if by_index(i) in (1, 3) else 0.9)
    arm = record["selective_risk"]["results"]["0.0"]["open"]["control"]
    assert (arm["n_items"], arm["n_answered"], arm["coverage"]) == (8, 6, 0.75)
    assert arm["risk"] == pytest.approx(2 / 6)
    assert arm["auroc"] == 1.0
    # Ties: 0, 0, 0, 0, 1/5, 2/6 whichever way the tied ones lie.
    assert arm["aurc"] == pytest.approx((1 / 5 + 2 / 6) / 6)
    points = {point["coverage"]: point["risk"] for point in arm["points"]}
    assert points == {0.1: 0, 0.25: 0, 0.5: 0, 0.75: pytest.approx(2 / 6), 0.9: None, 1.0: None}


def test_without_confidence_there_is_no_curve_but_a_reason(analysed: Analysed) -> None:
    cell = analysed(passages(20), mixed)["selective_risk"]["results"]["0.0"]["open"]
    assert cell["control"]["aurc"] is None
    assert cell["control"]["auroc"] is None
    assert "with a confidence" in cell["control"]["undefined_because"]
    assert cell["difference"]["aurc"] is None


def test_tables_do_not_depend_on_what_items_are_called(analysed: Analysed) -> None:
    items = passages(40)
    renamed = {f"o{i}": f"o{(i * 7) % 40}" for i in range(40)}
    back = {new: int(old[1:]) for old, new in renamed.items()}
    others = [
        Item(**{f: getattr(i, f) for f in i.__dataclass_fields__} | {"item_id": renamed[i.item_id]})
        for i in items
    ]

    def original(item: Item) -> Item:
        return items[back[item.item_id]]

    straight = analysed(items, mixed, confidence=sureness)
    other = analysed(
        others,
        lambda item, *arm: mixed(original(item), *arm),
        confidence=lambda item, condition: sureness(original(item), condition),
    )
    for name in (
        "subgroups",
        "power_analysis",
        "mixed_models",
        "unsupported_sensitivity",
        "cost_effectiveness",
    ):
        assert_close(other[name], straight[name])
    for arm in ("control", "treatment"):
        for measure in ("aurc", "auroc", "excess_aurc"):
            a, b = (r["selective_risk"]["results"]["0.0"]["open"][arm][measure] for r in (other, straight))
            assert a == pytest.approx(b)


def assert_close(a: Any, b: Any) -> None:
    if isinstance(b, dict):
        assert a.keys() == b.keys()
        for key in b:
            assert_close(a[key], b[key])
    elif isinstance(b, list):
        for x, y in zip(a, b, strict=True):
            assert_close(x, y)
    elif isinstance(b, float):
        assert a == pytest.approx(b, rel=1e-6, abs=1e-9)
    else:
        assert a == b


def test_unsupported_rates_are_those_of_the_score_table_at_its_threshold(analysed: Analysed) -> None:
    found = analysed(passages(40), mixed, temps=(0.0, 0.7))
    rows = list(read_scores(found["place"].scores))
    record = found["unsupported_sensitivity"]
    at = record["thresholds"].index(UnsupportedSpec().min_token_overlap)
    for temperature, cell in record["results"].items():
        for condition in ("control", "treatment"):
            rates = [
                float(row["unsupported_rate"])
                for row in rows
                if (row["temp"], row["condition"]) == (temperature, condition) and row["unsupported_rate"]
            ]
            assert cell[condition]["rates"][at] == pytest.approx(np.mean(rates))
            assert cell[condition]["n_items"] == len(rates) < 40
            assert cell[condition]["rates"] == sorted(cell[condition]["rates"])


def test_a_gain_has_a_price_and_a_loss_has_none(analysed: Analysed) -> None:
    # The treatment answers the 10 answerable items right (from 0 of 20 to 10 of 20: 50 points), and gives a false
    # answer to 2 of the 10 others. It costs 20 x 10 prompt tokens at .15 USD a million more.
    def reply(item: Item, condition: str, _: float) -> str:
        i = by_index(item)
        if i % 2:
            return WRONG if condition == "treatment" and i < 4 else UNKNOWN
        return RIGHT if condition == "treatment" else WRONG

    record = analysed(passages(20), reply)["cost_effectiveness"]["results"]["0.0"]
    assert record["usd_diff"] == pytest.approx(200 * 0.15e-6)
    assert record["delta_metrics"]["em"]["delta"] == pytest.approx(0.4)  # + 10 - 2 of 20
    assert record["usd_per_1pp_gain_em"] == pytest.approx(200 * 0.15e-6 / 40)
    false_answers = record["delta_metrics"]["false_answer_rate"]
    assert (false_answers["n_pairs"], false_answers["delta"]) == (10, pytest.approx(0.2))
    assert false_answers["is_gain"] is False
    assert record["usd_per_1pp_reduction_false_answer"] is None
    assert "a loss of 20.00" in false_answers["undefined_because"]
    # 20 x 15 tokens for 10 abstentions that were right; 20 x 25 for 10 + 8 right replies.
    assert record["by_condition"]["control"]["tokens_per_right_answer"] == pytest.approx(300 / 10)
    assert record["by_condition"]["treatment"]["tokens_per_right_answer"] == pytest.approx(500 / 18)


def test_tokens_that_nobody_counted_have_no_price(analysed: Analysed) -> None:
    record = analysed(passages(20), mixed, tokens=(None, None))["cost_effectiveness"]["results"]["0.0"]
    assert (record["usd_control"], record["usd_diff"], record["usd_per_1pp_gain_em"]) == (None, None, None)
    assert "did not count" in record["undefined_because"]
    assert record["delta_metrics"]["em"]["delta"] is not None


def test_power_is_of_the_differences_of_this_run(analysed: Analysed) -> None:
    # False answers are defined on the unanswerable half alone. One of 10 differs by -1: sd = sqrt(.1), each pair
    # on a passage of its own there: (z_.975 + z_.8) x sqrt(.1) / sqrt(10) = 2.801585 x .1 = .2801585.
    def reply(item: Item, condition: str, _: float) -> str:
        return UNKNOWN if condition == "treatment" and by_index(item) == 1 else WRONG

    record = analysed(passages(20), reply)["power_analysis"]["results"]["0.0"]["open"]["false_answer_rate"]
    assert (record["n_items"], record["mean_delta"]) == (10, pytest.approx(-0.1))
    assert record["sd_delta"] == pytest.approx(0.1**0.5)
    assert record["mde"] == pytest.approx(0.2801585, abs=1e-6)
    assert record["required_n_for_target"]["0.1"] == 79  # 7.848879 x .1 / .01 = 78.49


def test_a_subgroup_in_which_nothing_varies_is_left_out_with_the_reason(analysed: Analysed) -> None:
    def reply(item: Item, condition: str, _: float) -> str:
        return RIGHT if item.dataset == "more" else mixed(item, condition, 0.0)

    record = analysed(passages(40), reply)["subgroups"]["results"]["0.0"]["open"]["dataset"]["em"]
    assert "do not vary" in record["subgroups"]["more"]["undefined_because"]
    assert record["pooled"]["left_out"] == ["more"]
    assert "at least 2" in record["pooled"]["undefined_because"]


def test_only_the_analyses_that_are_named_are_written(analysed: Analysed) -> None:
    found = analysed(passages(4), mixed, analyses=["subgroups"])
    assert {p.stem for p in found["place"].results.glob("*.json")} == {"squad", "subgroups"}
    with pytest.raises(ValueError, match="twice"):
        StatisticsSpec(analyses=("subgroups", "subgroups"))


def test_an_analysis_that_fails_is_named_and_costs_nothing_else(
    analysed: Analysed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> Any:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(analysing, "RECORDS", dict(analysing.RECORDS) | {"subgroups": broken})
    found = analysed(passages(4), mixed)
    assert found["failures"] == {"subgroups": "ZeroDivisionError: two lines"}
    assert found["subgroups"]["undefined_because"] == "ZeroDivisionError: two lines"
    assert found["power_analysis"]["results"]


def test_predictions_of_another_run_cost_the_analyses_that_read_them(
    analysed: Analysed, make_spec: Callable[..., PromptSweepSpec]
) -> None:
    place = analysed(passages(4), mixed)["place"]
    spec = make_spec(statistics={"resamples": 50})
    plan: Plan = make_plan(spec, passages(4))
    write_text(place.predictions, ",".join(PREDICTION_COLUMNS) + "\n")
    failures = analyse_trial(RunFolder(place.path.parent), plan, place.slug, spec)
    assert set(failures) == {"unsupported_sensitivity"}
    assert "wanted 8" in failures["unsupported_sensitivity"]


def test_one_condition_alone_has_its_own_curve_and_nothing_to_compare(analysed: Analysed) -> None:
    found = analysed(passages(30), mixed, confidence=sureness, condition="control")
    assert found["failures"] == {}
    cell = found["selective_risk"]["results"]["0.0"]["open"]
    assert cell["control"]["aurc_ci"] is not None
    assert (cell["treatment"]["n_items"], cell["difference"]["aurc"]) == (0, None)
    assert "one condition" in found["mixed_models"]["results"]["open"]["gee_em"]["undefined_because"]
    assert found["cost_effectiveness"]["results"]["0.0"]["usd_diff"] is None
    for name in get_args(Analysis):
        assert unexplained(found[name]) == []


def test_closed_and_open_items_stand_apart_and_together(analysed: Analysed, items: list[Item]) -> None:
    # Three closed items and four open ones: differences of +1 on all closed, 0 on all open ones.
    def reply(item: Item, condition: str, _: float) -> str:
        return item.answers[0] if item.type is ItemType.CLOSED and condition == "treatment" else WRONG

    found = analysed(items, reply)
    for name in get_args(Analysis):
        assert unexplained(found[name]) == []
    cells = found["power_analysis"]["results"]["0.0"]
    assert {kind: cell["em"]["mean_delta"] for kind, cell in cells.items()} == {
        "closed": 1.0,
        "open": 0.0,
        "all": pytest.approx(3 / 7),
    }
    assert list(found["mixed_models"]["results"]) == ["closed", "open", "all"]
