import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar
from statsmodels.stats.multitest import multipletests

from overnight.runs import comparing_trials
from overnight.runs.comparing import compare_trial, write_significance
from overnight.spec.prompt_sweep import StatisticsSpec
from overnight.store.files import write_text
from overnight.store.manifest import RunManifest, TrialRecord, write_manifest
from overnight.store.run_folder import RunFolder

HEADER = "dataset,item_key,type,condition,temp,em,f1,abstain_rate,false_answer_rate,unsupported_rate"
SETTINGS = StatisticsSpec(resamples=40)
N = 30
Trials = dict[str, dict[str, Any]]


def right(trial: str, arm: str) -> np.ndarray:
    """Return which of N items an arm gets right; all trials share their control."""
    name = arm if arm == "control" else f"{trial} {arm}"
    rng = random.Random(name)
    return np.array([float(rng.random() < (0.4 if arm == "control" else 0.6)) for _ in range(N)])


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., RunFolder]:
    """Return a function that writes a run of some trials and compares them."""

    def compare(trials: Trials, without: tuple[str, ...] = ()) -> RunFolder:
        folder, now = RunFolder(tmp_path / "run_r1"), datetime(2026, 1, 2, tzinfo=UTC)
        records = {}
        for slug, changes in trials.items():
            requested = {"model": "m", "engine": "llama_cpp", "model_digest": "d" * 8, "quantization": "Q4_1"}
            requested |= {"prompt_digests": {"control": "c" * 8}, "top_p": 1.0}
            requested |= changes.get("requested", {})
            records[slug] = TrialRecord(
                fingerprint=slug, requested=requested, effective=changes.get("effective")
            )
            lines = [
                f"d,d|{i},closed,{arm},0.0,{value},{value},0.0,,"
                for arm in ("control", "treatment")
                for i, value in enumerate(right(slug, arm))
                if f"{slug} {arm} {i}" not in without
            ]
            write_text(folder.trial(slug).scores, "\n".join([HEADER, *lines, ""]))
        manifest = RunManifest(
            run_id="r1",
            kind="prompt-sweep",
            name="n",
            fingerprint="f",
            created=now,
            updated=now,
            execution={},
            environment={},
            trials=records,
        )
        write_manifest(folder, manifest)
        write_significance(folder, {slug: compare_trial(folder, slug, SETTINGS) for slug in trials}, SETTINGS)
        return folder

    return compare


def read(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_the_treatments_of_one_model_are_compared_two_by_two_and_all_at_once(compared) -> None:
    folder = compared({"a": {}, "b": {}, "c": {}})
    record = read(folder.comparisons)
    assert (record["schema_version"], record["refused"]) == (1, [])
    [group] = record["groups"]
    cell = group["results"]["0.0"]["closed"]
    # One control arm, since the three trials share it, and three treatments.
    assert [each["system"] for each in cell["systems"]] == [
        "a control",
        "a treatment",
        "b treatment",
        "c treatment",
    ]
    arms = [right("a", "control"), *(right(name, "treatment") for name in "abc")]
    theirs = cochrans_q(np.array(arms).T)
    assert cell["cochran"]["q"] == pytest.approx(theirs.statistic)
    assert cell["cochran"]["p_value"] == pytest.approx(theirs.pvalue)
    assert [(each["first"], each["second"]) for each in cell["pairs"]] == [
        ("a treatment", "b treatment"),
        ("a treatment", "c treatment"),
        ("b treatment", "c treatment"),
    ]
    b, c = np.sum(arms[2] > arms[1]), np.sum(arms[1] > arms[2])
    assert cell["pairs"][0]["p_value"] == pytest.approx(mcnemar([[0, b], [c, 0]], exact=True).pvalue)
    assert cell["pairs"][0]["delta_mean"] == pytest.approx(arms[2].mean() - arms[1].mean())


def test_every_declared_p_value_of_a_run_is_adjusted_together(compared) -> None:
    folder = compared({"a": {}, "b": {}})
    own = [
        metric
        for slug in "ab"
        for metric in read(folder.trial(slug).significance)["results"]["0.0"]["closed"]["metrics"].values()
    ]
    cell = read(folder.comparisons)["groups"][0]["results"]["0.0"]["closed"]
    tests = [test for test in [*own, *cell["pairs"], cell["cochran"]] if test["p_value"] is not None]
    assert len(tests) == 2 * 3 + 1 + 1 == read(folder.comparisons)["stats_config"]["n_tests"]
    p_values = [test["p_value"] for test in tests]
    for key, method in (("q_value", "fdr_bh"), ("q_value_by", "fdr_by"), ("p_holm", "holm")):
        assert [test[key] for test in tests] == pytest.approx(multipletests(p_values, method=method)[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"requested": {"model_digest": "other"}},
        {"requested": {"quantization": "Q8_0"}},
        {"requested": {"engine": "ollama"}},
        {"effective": {"quantization": "Q2_K"}},  # asked for the same, answered by another
    ],
)
def test_trials_that_different_models_answered_are_not_paired(compared, changes: dict[str, Any]) -> None:
    record = read(compared({"a": {}, "b": changes}).comparisons)
    assert [group["trials"] for group in record["groups"]] == [["a"], ["b"]]
    assert [group["results"] for group in record["groups"]] == [{}, {}]
    assert {group["undefined_because"] for group in record["groups"]} == {
        "one trial has no other to compare it with"
    }
    [refusal] = record["refused"]
    assert (refusal["first"], refusal["second"]) == (["a"], ["b"])
    assert "different models answered" in refusal["reason"]
    assert next(iter(next(iter(changes.values())).values())) in refusal["reason"]


def test_another_control_is_another_arm_of_the_same_model(compared) -> None:
    folder = compared({"a": {}, "b": {"requested": {"top_p": 0.9}}})
    cell = read(folder.comparisons)["groups"][0]["results"]["0.0"]["closed"]
    assert [each["system"] for each in cell["systems"]] == [
        "a control",
        "b control",
        "a treatment",
        "b treatment",
    ]
    assert len(cell["pairs"]) == 1


def test_an_item_that_failed_in_one_trial_is_counted_and_left_out_of_its_pairs(compared) -> None:
    folder = compared({"a": {}, "b": {}}, without=("b treatment 4",))
    cell = read(folder.comparisons)["groups"][0]["results"]["0.0"]["closed"]
    assert (cell["n_items"], cell["cochran"]["n_items"]) == (N, N - 1)
    assert (cell["pairs"][0]["n_pairs"], cell["pairs"][0]["n_half_defined"]) == (N - 1, 1)


def test_another_trial_moves_no_number_of_the_others_but_what_is_adjusted(compared) -> None:
    def numbers(folder: RunFolder) -> Any:
        metrics = read(folder.trial("a").significance)["results"]["0.0"]["closed"]["metrics"]
        pair = read(folder.comparisons)["groups"][0]["results"]["0.0"]["closed"]["pairs"][0]
        keys = ("ci", "ci_bca", "permutation_p", "p_value", "tost")
        return [{key: each[key] for key in keys} for each in [*metrics.values(), pair]]

    before = numbers(compared({"a": {}, "b": {}}))
    assert numbers(compared({"a": {}, "b": {}, "c": {}})) == before


def test_of_too_many_trials_each_is_compared_with_the_first(
    compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pairs grow with the square of the trials: half a million of 1,000. Which is the first is the plan's choice,
    # not a result's, so no difference was selected for its size.
    trials: Trials = {name: {} for name in "abcd"}
    every = read(compared(trials).path / "comparisons.json")["groups"][0]["results"]["0.0"]["closed"]
    monkeypatch.setattr(comparing_trials, "MOST_ARMS", 3)
    cell = read(compared(trials).path / "comparisons.json")["groups"][0]["results"]["0.0"]["closed"]
    assert [(pair["first"], pair["second"]) for pair in cell["pairs"]] == [
        ("a treatment", f"{other} treatment") for other in "bcd"
    ]
    assert cell["n_pairs_left_out"] == len(every["pairs"]) - 3 == 3
    assert "n_pairs_left_out" not in every
    # All arms have their means, and Cochran's Q is over all of them.
    assert cell["systems"] == every["systems"]
    assert cell["cochran"]["p_value"] == every["cochran"]["p_value"]
