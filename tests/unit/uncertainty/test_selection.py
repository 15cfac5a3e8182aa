import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.selection import aurocs, select
from overnight.uncertainty.table import Cell, Column, ItemTable


def table_of(columns: dict[str, np.ndarray], order: np.ndarray | None = None) -> ItemTable:
    n = len(next(iter(columns.values())))
    rows = range(n) if order is None else order
    return ItemTable(
        item_keys=tuple(f"d|{row}" for row in rows),
        columns=tuple(
            Column(
                name=name,
                version=1,
                cells=tuple(
                    Cell(value=None if np.isnan(values[row]) else float(values[row])) for row in rows
                ),
            )
            for name, values in columns.items()
        ),
    )


def planted(seed: int, signal: float, n: int = 120, n_noise: int = 8):
    """Return columns, of which ``good`` tells wrong answers by ``signal``, and which items are right."""
    rng = np.random.default_rng(seed)
    wrong = np.arange(n) % 2 == 0
    columns = {"uniform": rng.normal(size=n)}
    columns |= {f"noise_{number}": rng.normal(size=n) for number in range(n_noise)}
    columns["good"] = rng.normal(size=n) + signal * wrong
    return columns, {f"d|{row}": bool(~wrong[row]) for row in range(n)}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), min_size=2, max_size=9))
def test_areas_are_those_of_scikit_learn(rows) -> None:
    first, second, wrong = (np.array(column) for column in zip(*rows, strict=True))
    if wrong.all() or not wrong.any():
        return
    expected = [roc_auc_score(wrong, values) for values in (first, second)]
    assert aurocs(np.array([first, second], dtype=float), wrong) == pytest.approx(expected)


def test_a_planted_signal_is_chosen_and_holds_on_the_other_half() -> None:
    columns, right = planted(1, signal=3.0)
    found = select(table_of(columns), right, baseline="uniform", seed=7, n_permutations=99)
    assert found.chosen == "good"
    # Normals 3 standard deviations apart: the area is Phi(3 / sqrt 2) = .983.
    assert found.chosen_auroc == pytest.approx(0.983, abs=0.03)
    p_values = {candidate.name: candidate.p_max for candidate in found.candidates}
    assert p_values["good"] == 0.01  # 1 of 100: the smallest there is
    assert min(p for name, p in p_values.items() if name != "good") > 0.05


def test_e21_the_best_of_many_without_signal_is_not_called_better() -> None:
    # Of ten columns of noise the baseline is the best once in ten; else the best of the others beats it.
    n_better = n_called = 0
    for seed in range(20):
        columns, right = planted(seed, signal=0.0, n=40)
        found = select(table_of(columns), right, baseline="uniform", seed=seed, n_permutations=39)
        n_better += max(candidate.gain for candidate in found.candidates) > 0
        n_called += min(candidate.p_max for candidate in found.candidates) <= 0.05
    assert n_better >= 14  # P(fewer than 14 of 20 at .9) = .002
    assert n_called <= 4  # P(more than 4 of 20 at .05) = .003


def test_e21_what_was_chosen_is_worth_less_where_it_was_not_chosen() -> None:
    # Noise has an area of .5, but its best of ten on 20 items has more; only the other half tells.
    studies = [
        select(table_of(columns), right, baseline="uniform", seed=1, n_permutations=1)
        for columns, right in (planted(seed, signal=0.0, n=40) for seed in range(30))
    ]
    assert all(study.n_chosen_on == study.n_judged_on == 20 for study in studies)
    # The area of noise over 10 right and 10 wrong has a standard deviation of .13, a mean of 30 one of .024.
    assert np.mean([study.chosen_auroc_seen for study in studies]) > 0.6
    assert np.mean([study.chosen_auroc for study in studies]) == pytest.approx(0.5, abs=0.08)


def test_the_order_of_the_rows_is_immaterial_and_the_seed_is_not() -> None:
    columns, right = planted(4, signal=0.5)
    order = np.random.default_rng(0).permutation(120)
    one, other = (
        select(table_of(columns, rows), right, baseline="uniform", seed=5, n_permutations=19)
        for rows in (None, order)
    )
    assert one == other
    halves = {
        select(table_of(columns), right, baseline="uniform", seed=seed, n_permutations=1).baseline_auroc
        for seed in range(5)
    }
    assert len(halves) > 1


def test_a_measure_that_ranks_as_the_baseline_gains_nothing() -> None:
    columns, right = planted(5, signal=0.0, n_noise=0)
    columns["monotone"] = np.exp(columns["uniform"])
    found = select(table_of(columns), right, baseline="uniform", seed=5, n_permutations=19)
    monotone = next(candidate for candidate in found.candidates if candidate.name == "monotone")
    assert monotone.gain == 0.0


def test_all_candidates_see_the_same_items_and_one_with_many_gaps_is_left_out_by_name() -> None:
    columns, right = planted(6, signal=1.0)
    columns["good"][:3] = np.nan  # 3 of 120: within 5 %
    columns["noise_0"][:30] = np.nan
    found = select(table_of(columns), right, baseline="uniform", seed=5, n_permutations=1)
    assert found.left_out == {"noise_0": "no value for 30 of 120 items"}
    assert (found.n_labelled, found.n_chosen_on + found.n_judged_on) == (120, 117)


def test_too_few_of_one_kind_are_not_studied() -> None:
    columns, right = planted(7, signal=1.0, n=18)
    with pytest.raises(UndefinedMetricError, match="9 wrong answers; two halves want 10"):
        select(table_of(columns), right, baseline="uniform", seed=5)


def test_without_another_measure_there_is_nothing_to_choose() -> None:
    columns, right = planted(8, signal=1.0)
    with pytest.raises(UndefinedMetricError, match="no measure is left"):
        select(table_of({"uniform": columns["uniform"]}), right, baseline="uniform", seed=5)
    with pytest.raises(ValueError, match="n_permutations=0"):
        select(table_of(columns), right, baseline="uniform", seed=5, n_permutations=0)
    with pytest.raises(KeyError):
        select(table_of(columns), right, baseline="average", seed=5)
