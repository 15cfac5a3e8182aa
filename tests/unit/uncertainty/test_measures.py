import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.answer import TokenMask, count_tokens
from overnight.uncertainty.evidence import Evidence, Sampled, count_samples
from overnight.uncertainty.measure import Need
from overnight.uncertainty.measures import MEASURES, measures_with
from tests.unit.uncertainty.answers import evidence, generated, sampled

LOGS = st.lists(st.floats(-20, 0), min_size=1, max_size=5)
OF_GREEDY = [name for name, measure in MEASURES.items() if measure.needs == {Need.LOGPROBS}]


def value(name: str, item: Evidence) -> float:
    return MEASURES[name].of(item)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("g_nll", 4.0),
        ("average_nll", 2.0),
        ("perplexity", math.e**2),
        ("mean_token_probability", 1 - (math.e**-1 + math.e**-3) / 2),
        ("maximum_token_nll", 3.0),
        ("prefix_nll_1", 1.0),
        ("prefix_nll_3", 2.0),  # an answer of two tokens counts with the two it has
        ("n_tokens", 2.0),
    ],
)
def test_measures_by_hand(name: str, expected: float) -> None:
    # Golden vector 13: log-probabilities -1 and -3.
    assert value(name, evidence([-1.0, -3.0])) == pytest.approx(expected)


def test_a_prefix_is_the_mean_over_the_first_tokens() -> None:
    item = evidence([-1.0, -2.0, -6.0, -9.0])
    assert [value(f"prefix_nll_{length}", item) for length in (1, 3, 5)] == [1.0, 3.0, 4.5]


@pytest.mark.parametrize(
    ("logprobs", "similarity", "g_nll", "mean", "token_sar"),
    [
        ([-0.1, -0.7, -2.0], [0.9, 0.2, 0.5], 2.8, 0.93333333, 1.12142857),
        ([-0.05], [0.5], 0.05, 0.05, 0.05),
        ([-1.0, -1.0, -0.3, -0.2], [1.0, 0.8, 0.3, 0.99], 2.5, 0.625, 0.45274725),
    ],
)
def test_what_lm_polygraph_reports(logprobs, similarity, g_nll, mean, token_sar) -> None:
    # MaximumSequenceProbability, Perplexity (a mean there, no exponential) and TokenSAR of LM-Polygraph 0.7.0.
    item = evidence(logprobs, relevance=tuple(1 - g for g in similarity))
    assert value("g_nll", item) == pytest.approx(g_nll)
    assert value("average_nll", item) == pytest.approx(mean, rel=1e-7)
    assert value("token_sar", item) == pytest.approx(token_sar, rel=1e-7)


def test_golden_vector_11_relevance_weighs_tokens() -> None:
    assert value("rw_g_nll", evidence([-1.0, -2.0], relevance_in_context=(0.5, 0.0))) == 1.0


@pytest.mark.parametrize("name", ["rw_g_nll", "token_sar"])
def test_e4_without_relevance_the_value_is_missing_and_never_g_nll(name: str) -> None:
    # Golden vector 11: the seed put the sum, 3.0, into a list of means.
    with pytest.raises(UndefinedMetricError, match="weights of all tokens are 0"):
        value(name, evidence([-1.0, -2.0], relevance=(0.0, 0.0), relevance_in_context=(0.0, 0.0)))
    with pytest.raises(UndefinedMetricError, match="not computed"):
        value(name, evidence([-1.0, -2.0]))


def test_golden_vector_12_higher_is_less_certain() -> None:
    # Right, right, wrong, wrong with rising G-NLL: every wrong answer lies above every right one.
    found = [value("g_nll", evidence([-nll])) for nll in (0.1, 0.2, 0.3, 0.4)]
    assert roc_auc_score([0, 0, 1, 1], found) == 1.0


@pytest.mark.parametrize("name", OF_GREEDY)
@settings(max_examples=30)
@given(logs=LOGS, drop=st.floats(0.5, 5))
def test_every_measure_rises_when_all_tokens_get_less_likely(
    name: str, logs: list[float], drop: float
) -> None:
    less_likely = [log - drop for log in logs]
    assert value(name, evidence(less_likely)) > value(name, evidence(logs))


@given(st.lists(LOGS, min_size=2, max_size=6))
def test_e21_perplexity_ranks_as_the_average_nll(answers: list[list[float]]) -> None:
    items = [evidence(logs) for logs in answers]
    means = [round(value("average_nll", item), 6) for item in items]
    perplexities = [math.exp(mean) for mean in means]
    assert rankdata(means).tolist() == rankdata(perplexities).tolist()
    for item in items:
        assert math.log(value("perplexity", item)) == pytest.approx(value("average_nll", item), abs=1e-9)


@given(LOGS)
def test_bounds(logs: list[float]) -> None:
    item = evidence(logs)
    assert value("average_nll", item) <= value("maximum_token_nll", item) + 1e-9
    assert value("maximum_token_nll", item) <= value("g_nll", item) + 1e-9
    assert 0.0 <= value("mean_token_probability", item) < 1.0
    assert value("perplexity", item) >= 1.0


@given(LOGS, st.data())
def test_equal_relevance_makes_it_the_average_nll(logs: list[float], data: st.DataObject) -> None:
    # Which is what E-1 did to the published numbers: relevances between .8 and .94 are nearly equal.
    relevance = (data.draw(st.floats(0.01, 1)),) * len(logs)
    item = evidence(logs, relevance=relevance)
    assert value("token_sar", item) == pytest.approx(value("average_nll", item), abs=1e-9)


def test_entropies_over_samples_by_hand() -> None:
    # Answers of log-probability -3 over two tokens and -1 over one.
    item = sampled([[-1.0, -2.0], [-1.0]])
    assert value("predictive_entropy", item) == 2.0
    assert value("length_normalised_entropy", item) == (1.5 + 1.0) / 2


@pytest.mark.parametrize(
    "name", [name for name, measure in MEASURES.items() if Need.SAMPLES in measure.needs]
)
def test_without_samples_their_measures_are_missing(name: str) -> None:
    for item in (evidence([-1.0]), evidence([-1.0], sampled=Sampled(answers=()), clusters=(), same_words=())):
        with pytest.raises(UndefinedMetricError, match="no answers were sampled"):
            value(name, item)


def test_a_sample_without_a_likelihood_is_not_left_out_quietly() -> None:
    # Leaving the empty answers out would make an uncertain item look certain.
    answers = (count_tokens(generated([" a"])), count_tokens(generated([], end=-0.1)))
    item = evidence([-1.0], sampled=Sampled(answers=answers), same_words=(0, 1))
    with pytest.raises(UndefinedMetricError, match="a sampled answer has no likelihood: the answer is empty"):
        value("predictive_entropy", item)
    assert value("discrete_semantic_entropy_same_words", item) == pytest.approx(math.log(2))


def test_the_length_of_an_empty_answer_is_known_and_its_likelihood_is_not() -> None:
    empty = Evidence(item_key="d|1", greedy=count_tokens(generated([], end=-0.5)))
    assert value("n_tokens", empty) == 0.0
    for name in OF_GREEDY:
        with pytest.raises(UndefinedMetricError, match="empty"):
            value(name, empty)


def test_tokens_that_do_not_spell_the_text_measure_nothing() -> None:
    greedy = count_tokens(generated(["Lyon"], text="Paris"))
    for name in [*OF_GREEDY, "n_tokens"]:
        with pytest.raises(UndefinedMetricError, match="the tokens say 'Lyon', the scored text is 'Paris'"):
            value(name, Evidence(item_key="d|1", greedy=greedy))


def test_a_sample_whose_tokens_do_not_spell_it_still_has_words() -> None:
    samples = count_samples([generated(["Lyon"], text="Paris"), generated(["Paris"])])
    item = evidence([-1.0], sampled=samples, same_words=(0, 0))
    assert value("g_nll", item) == 1.0
    assert value("discrete_semantic_entropy_same_words", item) == 0.0
    with pytest.raises(UndefinedMetricError, match="a sampled answer has no likelihood: the tokens say"):
        value("predictive_entropy", item)


def test_e15_with_the_end_token_g_nll_is_larger_by_its_nll() -> None:
    answer = generated([" a", " b"], [-1.0, -2.0], end=-0.5)
    with_end = Evidence(item_key="d|1", greedy=count_tokens(answer, TokenMask.WITH_END_TOKEN))
    assert value("g_nll", with_end) == 3.5


def test_a_perplexity_that_is_no_number_has_a_reason() -> None:
    with pytest.raises(UndefinedMetricError, match="800 nats"):
        value("perplexity", evidence([-800.0]))


def test_measures_are_found_by_what_is_had() -> None:
    assert [measure.name for measure in measures_with([])] == ["n_tokens"]
    greedy = {measure.name for measure in measures_with([Need.LOGPROBS])}
    assert greedy == {*OF_GREEDY, "n_tokens"}
    without_entailment = {measure.name for measure in measures_with([Need.SAMPLES])}
    assert without_entailment == {"n_tokens", "discrete_semantic_entropy_same_words"}
    assert set(measures_with(list(Need))) == set(MEASURES.values())


def test_numbers_of_another_answer_are_refused() -> None:
    with pytest.raises(ValueError, match="1 relevance for 2 tokens"):
        evidence([-1.0, -2.0], relevance=(0.5,))
    with pytest.raises(ValueError, match="2 clusters for 1 samples"):
        sampled([[-1.0]], clusters=(0, 1))


def test_measuring_imports_no_model_library() -> None:
    code = "import overnight.uncertainty.measures, overnight.uncertainty.labels, json, sys; "
    code += "print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    imported = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert imported & {"torch", "transformers", "sklearn", "scipy", "pandas"} == set()
