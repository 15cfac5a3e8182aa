import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import explained_variance_score, r2_score

from overnight.best_of_k.baselines import Baseline
from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.record import KSweepResults
from overnight.best_of_k.saving import read_sums
from overnight.best_of_k.selectors import Selector
from overnight.errors import StopRequested, StoreError
from overnight.runs.recovering import write_recovery
from overnight.vectors.floats import Kept
from tests.unit.best_of_k.made_up_trial import MadeUp, make_up


def measured(one: MadeUp) -> KSweepResults:
    return write_recovery(one.folder, one.trial.slug, one.vectors, one.experiment, one.requested)


def mean_over_sets(one: MadeUp, k: int, place: int, keep: Callable[[list[int]], int]) -> dict[str, float]:
    """Go through every set of K draws of a vector that succeeded, and average what is kept of each."""
    usable = [draw for draw in range(one.y.shape[1]) if (place, draw) not in one.failed]
    kept = [keep(list(some)) for some in combinations(usable, k)]
    x, y = one.x[place], one.y[place][kept]
    cosines = y @ x / np.linalg.norm(y, axis=1) / np.linalg.norm(x)
    return {"mse": np.square(x - y).mean(axis=1).mean(), "cosine": cosines.mean()}


def keepers(one: MadeUp, place: int) -> dict[Selector, Callable[[list[int]], int]]:
    x, y = one.x[place], one.y[place]
    error = np.square(x - y).sum(axis=1)
    unit = y / np.linalg.norm(y, axis=1, keepdims=True)
    apart = np.linalg.norm(y[:, None] - y[None], axis=2)
    total, n_tokens = one.logprobs[place], one.n_tokens[place]
    return {
        Selector.ORACLE: lambda some: min(some, key=lambda j: error[j]),
        Selector.LOG_PROBABILITY: lambda some: max(some, key=lambda j: total[j]),
        Selector.MEAN_LOG_PROBABILITY: lambda some: max(some, key=lambda j: total[j] / n_tokens[j]),
        Selector.SELF_CONSISTENCY: lambda some: max(
            some, key=lambda j: sum(unit[j] @ unit[i] for i in some if i != j)
        ),
        Selector.MEDOID: lambda some: min(some, key=lambda j: sum(apart[j][i] for i in some)),
    }


@pytest.mark.parametrize("selector", list(Selector))
def test_every_selector_is_the_mean_over_all_sets_of_draws(tmp_path: Path, selector: Selector) -> None:
    # Of two draws none agrees more than the other, so K = 2 is left out for those that look at agreement.
    one = make_up(tmp_path, n_draws=5, ks=(1, 3, 5), failed=[])
    curve = measured(one).selector(selector)
    assert curve is not None
    for k in (1, 3, 5):
        by_hand = [mean_over_sets(one, k, place, keepers(one, place)[selector]) for place in range(12)]
        if k == 1:
            by_hand = [mean_over_sets(one, k, place, lambda some: some[0]) for place in range(12)]
        for measure in ("mse", "cosine"):
            expected = np.mean([each[measure] for each in by_hand])
            assert curve.value(k, Measure(measure)) == pytest.approx(expected, rel=1e-6), (k, measure)


def test_with_every_draw_kept_the_measures_are_those_of_an_independent_library(tmp_path: Path) -> None:
    one = make_up(tmp_path, n_sources=20, kept=Kept.BFLOAT16)
    results = measured(one)
    best = np.square(one.x[:, None] - one.y).mean(axis=2).argmin(axis=1)
    y, weighted = one.y[np.arange(len(best)), best], {"multioutput": "variance_weighted"}
    oracle = results.oracle
    assert oracle.value(4, Measure.FVE) == pytest.approx(explained_variance_score(one.x, y, **weighted))
    r_squared, n = r2_score(one.x, y, **weighted), len(one.x)
    assert oracle.value(4, Measure.NORMALISED_MSE) == pytest.approx(1 - r_squared)
    assert oracle.value(4, Measure.BIAS_AWARE_FVE) == pytest.approx(1 - (1 - r_squared) * (n - 1) / n)
    assert oracle.value(4, Measure.R_SQUARED_GRAND) == pytest.approx(r2_score(one.x.ravel(), y.ravel()))
    at = oracle.at(4)
    assert at is not None
    assert at.r_squared_by_dimension == pytest.approx(r2_score(one.x, y))
    # The names of older sweeps, by their own formulas.
    old = results.results_by_k[-1]
    assert old.avg_mse == pytest.approx(np.square(one.x - y).mean())
    assert old.variance_recovery == oracle.value(4, Measure.FVE)
    assert old.mse_variance_recovery == oracle.value(4, Measure.BIAS_AWARE_FVE)
    assert old.r_squared == oracle.value(4, Measure.R_SQUARED_GRAND)
    assert old.total_positions == n
    assert old.original_variance == pytest.approx(one.x.var(ddof=1))
    assert old.original_mean == pytest.approx(one.x.mean())
    assert old.mean_variance_mean_over_hidden == pytest.approx(one.x.var(axis=0, ddof=1).mean())
    assert old.residual_variance_mean_over_hidden == pytest.approx((one.x - y).var(axis=0, ddof=1).mean())
    assert results.summary.variance_recovery_values[-1] == old.variance_recovery


def test_baselines_know_nothing_of_the_vector(tmp_path: Path) -> None:
    one = make_up(tmp_path, n_sources=40, n_dimensions=12, noise=0.5)
    results = measured(one)
    source = np.arange(80) // 2
    means = np.stack([one.x[source != own].mean(axis=0) for own in source])
    curve = results.baseline(Baseline.MEAN_VECTOR)
    assert curve is not None
    for k in (1, 2, 4):  # one reconstruction, whatever K
        assert curve.value(k, Measure.MSE) == pytest.approx(np.square(one.x - means).mean())
    shuffled, others = results.baseline(Baseline.SHUFFLED), results.baseline(Baseline.OTHERS)
    assert shuffled is not None
    assert others is not None
    for name in (shuffled, others):
        assert name.value(4, Measure.BIAS_AWARE_FVE) < results.oracle.value(4, Measure.BIAS_AWARE_FVE)  # type: ignore[operator]
        assert name.by_k[-1].gaps[0].gap.ci_lower > 0  # type: ignore[operator]
        # The best of four is chosen there too, or the comparison would be unfair.
        assert name.value(4, Measure.MSE) < name.value(1, Measure.MSE)  # type: ignore[operator]
    # Of texts of other vectors K = 1 is one text: what is drawn of the pairs of unrelated vectors.
    mse = results.selector(Selector.ORACLE).value(1, Measure.MSE)  # type: ignore[union-attr]
    assert shuffled.value(1, Measure.MSE) > mse  # type: ignore[operator]


def test_gaps_are_of_the_same_vectors_and_their_share_of_the_gain_is_in_its_place(tmp_path: Path) -> None:
    results = measured(make_up(tmp_path, n_sources=30))
    for curve in results.selectors:
        for at in curve.by_k:
            for gap in at.gaps:
                difference = results.oracle.value(at.k, gap.measure) - at.measures[gap.measure].value  # type: ignore[operator]
                sign = -1 if gap.measure is Measure.MSE else 1
                assert gap.gap.value == pytest.approx(sign * difference)
        assert curve.by_k[0].gaps[0].gap.value == pytest.approx(0.0, abs=1e-12)
        assert curve.by_k[0].gaps[0].share_of_gain is None
        assert curve.by_k[0].gaps[0].undefined_because == "the oracle gains nothing over one draw"
        assert 0 < curve.by_k[-1].gaps[0].share_of_gain < 1  # type: ignore[operator]


def test_the_order_of_chunks_and_rows_is_immaterial_to_the_last_byte(tmp_path: Path) -> None:
    names = ("k_sweep_results.json", "candidates.jsonl", "k_sweep.csv", "recovery/oracle.npz")
    first, second = make_up(tmp_path / "a"), make_up(tmp_path / "b", chunks=[2, 0, 1])
    # The texts are drawn in the order of the chunks there; the same texts come in another order here.
    rows = first.trial.journal.read_text().splitlines(keepends=True)
    second.trial.journal.write_text("".join(reversed(rows)))
    measured(first)
    measured(second)
    for name in names:
        of_first, of_second = first.trial.results / name, second.trial.results / name
        assert of_first.read_bytes() == of_second.read_bytes(), name


def test_any_size_of_chunks_gives_the_same_numbers(tmp_path: Path) -> None:
    of_each = [measured(make_up(tmp_path / str(n), per_chunk=n)) for n in (1, 5, 12)]
    assert of_each[0].model_dump(exclude={"costs", "frontier"}) == of_each[1].model_dump(
        exclude={"costs", "frontier"}
    )
    assert of_each[1].selectors == of_each[2].selectors


def test_failed_draws_are_said_and_are_no_draws(tmp_path: Path) -> None:
    # Of 12 vectors one has three draws: it is left out for every K, since K = 4 is measured.
    one = make_up(tmp_path, failed=[(0, 1)])
    results = measured(one)
    assert results.state == "partial"
    assert (results.vectors.n_drawn, results.vectors.n_measured, results.vectors.n_short) == (12, 11, 1)
    assert results.vectors.n_failed_draws == 1
    assert results.notes[0] == "1 draws failed; 1 vectors have too few left and are not measured."
    by_hand = [mean_over_sets(one, 2, place, keepers(one, place)[Selector.ORACLE]) for place in range(1, 12)]
    expected = np.mean([each["mse"] for each in by_hand])
    assert results.oracle.value(2, Measure.MSE) == pytest.approx(expected)
    row = json.loads(one.trial.candidates.read_text().splitlines()[0])
    assert row["n_usable"] == 3
    assert row["draws"][1] == {
        "draw": 1,
        "text": None,
        "n_tokens": None,
        "logprob": None,
        "mse": None,
        "cosine": None,
        "norm": None,
    }
    assert row["mse_by_k"]["4"] is None
    assert read_sums(one.trial.recovery_sums).n_short == 1


def test_a_number_of_draws_that_most_vectors_lack_is_null_and_the_others_are_measured(tmp_path: Path) -> None:
    one = make_up(tmp_path, failed=[(place, place % 4) for place in range(9)])
    results = measured(one)
    assert results.measured_ks == (1, 2)
    last = results.results_by_k[-1]
    assert (last.k, last.avg_mse, last.variance_recovery) == (4, None, None)
    assert last.undefined_because == "of most of 12 vectors fewer than 4 draws succeeded"
    assert results.undefined_because["results_by_k.4"] == last.undefined_because
    assert results.vectors.n_measured == 12
    by_hand = [mean_over_sets(one, 2, place, keepers(one, place)[Selector.ORACLE]) for place in range(12)]
    assert results.oracle.value(2, Measure.MSE) == pytest.approx(np.mean([each["mse"] for each in by_hand]))
    assert results.baseline(Baseline.OTHERS).value(2, Measure.MSE) is not None  # type: ignore[union-attr]


def test_a_trial_that_was_cut_off_uses_what_is_there_and_says_so(tmp_path: Path) -> None:
    results = measured(make_up(tmp_path, chunks=[0, 2]))
    assert (results.state, results.vectors.n_wanted, results.vectors.n_drawn) == ("partial", 12, 8)
    assert "4 of 12 vectors have no draws" in results.notes[0]
    assert results.oracle.value(4, Measure.FVE) is not None
    # 8 vectors take 6 seconds of drawing and encoding: 0.75 each, over 4 draws.
    assert results.costs.seconds == pytest.approx(6.0)
    assert results.costs.seconds_per_draw == pytest.approx(0.75 / 4)
    assert results.frontier[-1].seconds_per_vector == pytest.approx(0.75)


def test_a_trial_without_draws_has_nulls_with_their_reason(tmp_path: Path) -> None:
    one = make_up(tmp_path, chunks=[])
    results = measured(one)
    assert results.state == "empty"
    assert results.oracle.undefined_because == "no vector has its draws yet"
    assert [each.variance_recovery for each in results.results_by_k] == [None] * 3
    assert results.frontier == ()
    assert list(one.trial.results.glob("recovery/*")) == []
    assert KSweepResults.model_validate_json(one.trial.k_sweep.read_text()) == results


def test_without_the_bootstrap_intervals_are_null_and_not_zero(tmp_path: Path) -> None:
    one = make_up(tmp_path, statistics={"bootstrap": False})
    results = measured(one)
    at = results.results_by_k[-1]
    assert at.variance_recovery is not None
    assert at.variance_recovery_ci_lower is None
    assert at.variance_recovery_bias_corrected is None
    assert at.variance_recovery_std is None
    assert results.oracle.by_k[0].measures[Measure.FVE].no_interval_because == "the bootstrap is switched off"
    with_it = measured(make_up(tmp_path / "b"))
    assert with_it.results_by_k[-1].variance_recovery == at.variance_recovery
    assert with_it.results_by_k[-1].variance_recovery_ci_lower is not None
    rows = [line.split(",") for line in one.trial.k_sweep_table.read_text().splitlines()]
    assert rows[0][:3] == ["label", "k", "kind"]


def test_roles_with_vectors_enough_are_measured_by_themselves(tmp_path: Path) -> None:
    one = make_up(tmp_path, n_sources=15, roles=["user", "assistant", "assistant", "assistant", None])
    results = measured(one)
    roles = {each.role: each for each in results.by_role}
    assert {role: each.n_vectors for role, each in roles.items()} == {"none": 6, "assistant": 18, "user": 6}
    assert roles["user"].undefined_because == "6 vectors; at least 11 are wanted"
    own = np.flatnonzero([each.role == "assistant" for each in one.vectors.vectors])
    best = np.square(one.x[:, None] - one.y).mean(axis=2).argmin(axis=1)
    expected = explained_variance_score(one.x[own], one.y[own, best[own]], multioutput="variance_weighted")
    assert roles["assistant"].value(4, Measure.FVE) == pytest.approx(expected)
    whole = measured(make_up(tmp_path / "b", n_sources=15))
    assert whole.by_role == ()
    assert whole.undefined_because["by_role"] == "the texts are no conversations: no token has a role"
    assert whole.oracle.value(4, Measure.FVE) == pytest.approx(results.oracle.value(4, Measure.FVE))


def test_one_source_has_no_baseline_and_no_interval_and_says_why(tmp_path: Path) -> None:
    results = measured(make_up(tmp_path, n_sources=1, per_source=12))
    assert results.oracle.value(4, Measure.FVE) is not None
    assert results.oracle.by_k[0].measures[Measure.FVE].no_interval_because == "one source has no interval"
    reasons = {each.name: each.undefined_because for each in results.baselines}
    assert all(reasons.values())
    assert "no other texts" in str(reasons[Baseline.OTHERS])


def test_texts_without_log_probabilities_leave_out_the_selectors_that_need_them(tmp_path: Path) -> None:
    one = make_up(tmp_path)
    text = one.trial.journal.read_text().replace('"logprob_sum": -', '"ignored": -')
    one.trial.journal.write_text(text)
    results = measured(one)
    for name in (Selector.LOG_PROBABILITY, Selector.MEAN_LOG_PROBABILITY):
        curve = results.selector(name)
        assert curve is not None
        assert (curve.by_k, curve.n_vectors) == ((), 0)
        assert "without its log-probability" in str(curve.undefined_because)
    assert results.selector(Selector.MEDOID).value(4, Measure.FVE) is not None  # type: ignore[union-attr]


def test_a_candidate_has_its_best_and_its_median_text(tmp_path: Path) -> None:
    one = make_up(tmp_path, n_draws=5, ks=(1, 5))
    measured(one)
    rows = [json.loads(line) for line in one.trial.candidates.read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(12))
    error = np.square(one.x[:, None] - one.y).mean(axis=2)
    for row, own in zip(rows, error, strict=True):
        assert [draw["mse"] for draw in row["draws"]] == pytest.approx(own.tolist(), rel=1e-8)
        assert (row["best"], row["median"]) == (int(own.argmin()), int(np.argsort(own)[2]))
        assert row["mse_by_k"] == pytest.approx({"1": own.mean(), "5": own.min()}, rel=1e-8)
        assert all(draw["text"] for draw in row["draws"])
        assert row["likeliest"] == int(one.logprobs[row["index"]].argmax())


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    one = make_up(tmp_path)
    shard = next(one.trial.reconstructions.iterdir())
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"safetensors: changed since it was written"):
        measured(one)
    shard.unlink()
    with pytest.raises(StoreError, match="not there"):
        measured(one)
    one.trial.chunks.write_text('{"first": 0}\n')
    with pytest.raises(StoreError, match=r"chunks.jsonl:1: not the line of a chunk"):
        measured(one)


def test_a_request_to_stop_leaves_the_results_of_before(tmp_path: Path) -> None:
    one = make_up(tmp_path)
    measured(one)
    before = one.trial.k_sweep.read_bytes()
    with pytest.raises(StopRequested):
        write_recovery(
            one.folder, one.trial.slug, one.vectors, one.experiment, one.requested, should_stop=lambda: True
        )
    assert one.trial.k_sweep.read_bytes() == before


def test_only_the_vectors_of_its_dataset_are_a_trials(tmp_path: Path) -> None:
    one = make_up(tmp_path, requested={"dataset": "others"})
    results = measured(one)
    assert results.vectors.n_wanted == 0
    assert results.notes == ("Nothing is measured: there is no vector.",)
