import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from overnight.records import AnswerRule
from overnight.uncertainty.clusters import cluster_by_entailment, cluster_by_words
from overnight.uncertainty.measures import MEASURES
from overnight.uncertainty.measures.semantic_entropy import (
    entropy_by_count,
    entropy_by_likelihood,
    entropy_by_sampling,
)
from tests.unit.uncertainty.answers import sampled

SAMPLES = st.lists(st.tuples(st.floats(0, 30), st.integers(0, 3)), min_size=1, max_size=8)
# The values that LM-Polygraph 0.7.0 gives for these.
NLLS, CLUSTERS = [1.0, 1.2, 4.0, 3.0], (0, 0, 1, 2)


def test_what_lm_polygraph_reports() -> None:
    assert entropy_by_sampling(NLLS, CLUSTERS) == pytest.approx(1.95093057, rel=1e-8)
    assert entropy_by_count(CLUSTERS) == pytest.approx(1.03972077, rel=1e-8)


def test_clusters_weigh_as_their_samples_are_likely() -> None:
    # p = .4 and .2 in one cluster, .2 in the other: they sum to .8, so the clusters have 3/4 and 1/4.
    nlls = [-math.log(p) for p in (0.4, 0.2, 0.2)]
    expected = -(3 / 4 * math.log(3 / 4) + 1 / 4 * math.log(1 / 4))
    assert entropy_by_likelihood(nlls, (0, 0, 1)) == pytest.approx(expected)


@given(SAMPLES)
def test_entropies_are_those_of_scipy(samples) -> None:
    nlls, clusters = zip(*samples, strict=True)
    masses = [
        sum(math.exp(-nll) for nll, cluster in samples if cluster == name) for name in sorted(set(clusters))
    ]
    counts = [clusters.count(name) for name in set(clusters)]
    assert entropy_by_likelihood(nlls, clusters) == pytest.approx(entropy(masses), abs=1e-9)
    assert entropy_by_count(clusters) == pytest.approx(entropy(counts), abs=1e-9)


@given(SAMPLES)
def test_one_meaning_has_no_entropy_however_it_is_worded(samples) -> None:
    nlls = [nll for nll, _ in samples]
    assert entropy_by_likelihood(nlls, (0,) * len(nlls)) == pytest.approx(0.0, abs=1e-12)
    assert entropy_by_count((0,) * len(nlls)) == 0.0


def test_answers_so_long_that_their_probability_is_zero_still_have_an_entropy() -> None:
    # e to the -2000 is 0 as a float; two clusters as likely as each other have ln 2.
    assert entropy_by_likelihood([2000.0, 2000.0], (0, 1)) == pytest.approx(math.log(2))


def test_the_length_normalised_form_weighs_by_the_average_nll() -> None:
    # Average NLLs 1 and 1, totals 2 and 1: equal weights here, unequal there.
    item = sampled([[-1.0, -1.0], [-1.0]], clusters=(0, 1), same_words=(0, 1))
    for suffix in ("", "_same_words"):
        equal = MEASURES[f"length_normalised_semantic_entropy{suffix}"].of(item)
        assert equal == pytest.approx(math.log(2))
        unequal = MEASURES[f"semantic_entropy{suffix}"].of(item)
        assert unequal == pytest.approx(entropy([math.exp(-2), math.exp(-1)]))


def test_the_two_ways_to_tell_meanings_apart_have_names_of_their_own() -> None:
    item = sampled([[-1.0], [-1.0]], clusters=(0, 0), same_words=(0, 1))
    assert MEASURES["discrete_semantic_entropy"].of(item) == 0.0
    assert MEASURES["discrete_semantic_entropy_same_words"].of(item) == pytest.approx(math.log(2))


def test_samples_join_when_each_entails_the_other() -> None:
    # 0 and 2 entail each other; 1 is entailed by 0 but does not entail it: "in Paris" from "in Paris, on 1 May".
    entailed = [[True, True, True], [False, True, False], [True, False, True]]
    assert cluster_by_entailment(3, lambda i, j: entailed[i][j]) == (0, 1, 0)


@given(st.lists(st.integers(0, 3), max_size=8))
def test_an_equivalence_is_found_as_it_is(meanings: list[int]) -> None:
    found = cluster_by_entailment(len(meanings), lambda i, j: meanings[i] == meanings[j])
    by_hand = cluster_by_words([str(meaning) for meaning in meanings])
    assert found == by_hand
    for i, one in enumerate(meanings):
        for j, other in enumerate(meanings):
            assert (found[i] == found[j]) == (one == other)


def test_words_are_the_same_under_the_rule_of_the_dataset() -> None:
    assert cluster_by_words(["The Beatles!", "beatles", "New-York", "New York"]) == (0, 0, 1, 2)
    assert cluster_by_words(["New-York", "New York"], AnswerRule.TRIVIAQA) == (0, 0)
    assert cluster_by_words(["It is 51.", "51 apples", "52", "none"], AnswerRule.NUMERIC) == (0, 0, 1, 2)
