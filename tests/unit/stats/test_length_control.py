import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from overnight.stats.error_examples import error_examples
from overnight.stats.length_control import control_for_length
from tests.unit.stats.scored import items_of


def drawn(n=600, seed=0):
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 40, n).astype(float)
    wrong = rng.random(n) < length / 40
    return length, wrong, rng


def lengths_of(items, length):
    return dict(zip(items.keys, length.tolist(), strict=True))


def test_a_measure_that_only_follows_length_loses_its_auroc_within_strata() -> None:
    length, wrong, rng = drawn()
    items = items_of(length + rng.normal(size=600) * 0.1, wrong)
    found = control_for_length(items, lengths_of(items, length), n_strata=40)
    assert found.auroc == pytest.approx(found.auroc_length, abs=0.01)
    assert found.auroc > 0.7
    assert found.within.low < 0.5 < found.within.high


def test_the_auroc_within_strata_is_that_of_the_pairs_of_one_stratum() -> None:
    length, wrong, rng = drawn(120)
    score = rng.normal(size=120) + wrong
    items = items_of(score, wrong)
    found = control_for_length(items, lengths_of(items, length), n_strata=3)
    won = pairs = 0.0
    for stratum in found.strata:
        inside = (length >= stratum.shortest) & (length <= stratum.longest)
        assert stratum.auroc == pytest.approx(roc_auc_score(wrong[inside], score[inside]))
        psi = score[inside & wrong][:, None] > score[inside & ~wrong]
        won, pairs = won + psi.sum(), pairs + psi.size
    assert found.auroc_within == pytest.approx(won / pairs)
    assert found.auroc_length == pytest.approx(roc_auc_score(wrong, length))
    assert found.partial.rho > 0


def test_a_stratum_with_one_class_is_named_and_left_out() -> None:
    length = np.repeat([1.0, 9.0], 20)
    wrong = np.concatenate([np.zeros(20, dtype=bool), np.arange(20) < 10])
    items = items_of(np.arange(40), wrong)
    found = control_for_length(items, lengths_of(items, length), n_strata=2)
    assert "0 wrong" in found.strata[0].undefined_because
    assert found.auroc_within == found.strata[1].auroc
    apart = items_of(np.arange(40), length > 5)
    alone = control_for_length(apart, lengths_of(apart, length), n_strata=2)
    assert alone.auroc_within is None
    assert "no stratum" in alone.within_undefined_because


def test_length_itself_has_no_partial_correlation_and_a_degenerate_measure_nothing() -> None:
    length, wrong, _ = drawn(100)
    items = items_of(length, wrong)
    assert "nothing is left" in control_for_length(items, lengths_of(items, length)).partial_undefined_because
    flat = items_of(np.ones(100), wrong)
    found = control_for_length(flat, lengths_of(flat, length))
    assert (found.auroc, found.strata) == (None, ())
    assert "one score" in found.undefined_because


def test_examples_are_the_surest_errors_and_the_most_doubted_right_answers_by_key_within_ties() -> None:
    items = items_of([3, 1, 1, 2, 5, 2], [True, True, True, False, False, False])
    found = error_examples(items, n_each=2)
    assert [(e.key, e.certainty_rank) for e in found.most_certain_wrong] == [("i00001", 1), ("i00002", 1)]
    assert [(e.key, e.uncertainty) for e in found.least_certain_right] == [("i00004", 5.0), ("i00003", 2.0)]
    assert len(error_examples(items).most_certain_wrong) == 3
    with pytest.raises(ValueError, match="at least 1"):
        error_examples(items, n_each=0)
