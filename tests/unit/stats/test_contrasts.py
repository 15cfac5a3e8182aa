from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.meta_analysis import combine_effects

from overnight.stats.cell_tests import cell_tests
from overnight.stats.contrasts import contrasts
from overnight.stats.delong import placements
from overnight.stats.model_cells import Cell, Factor, ModelFacts, differing, matches
from tests.unit.stats.scored import items_of, noisy

FACTS = {
    "family": "llama",
    "parameters": 1e9,
    "is_instruct": False,
    "quantization": "none",
    "bits_per_weight": 16,
}


def facts(**changes) -> ModelFacts:
    merged = {**FACTS, **changes}
    return ModelFacts(
        name=changes.get("name", "-".join(str(v) for v in merged.values())),
        **{key: value for key, value in merged.items() if key != "name"},
    )


def cell(dataset="squad", seed=0, signal=1.0, items=None, **changes) -> Cell:
    items = noisy(150, seed, signal) if items is None else items
    return Cell(model=facts(**changes), dataset=dataset, measure="g_nll", label="f1", items=items)


INT8 = {"quantization": "int8", "bits_per_weight": 8}


def test_two_cells_differ_in_what_is_stated_never_in_what_names_say() -> None:
    assert differing(cell(name="llama-1b"), cell(name="qwen-70b-instruct-8bit")) == frozenset()
    assert differing(cell(), cell(parameters=8e9, is_instruct=True)) == {Factor.SIZE, Factor.INSTRUCT}
    assert differing(cell(parameters=7.25e9), cell(parameters=8.03e9)) == frozenset()


@pytest.mark.parametrize(
    ("changes", "factor", "levels"),
    [
        ({"parameters": 8e9}, Factor.SIZE, ("smaller", "larger")),
        ({"family": "qwen"}, Factor.FAMILY, ("llama", "qwen")),
        ({"is_instruct": True}, Factor.INSTRUCT, ("base", "instruct")),
        (INT8, Factor.QUANTIZATION, ("none", "int8")),
        ({"dataset": "trivia_qa"}, Factor.DATASET, ("squad", "trivia_qa")),
    ],
)
def test_a_pair_differs_in_one_thing_and_its_direction_does_not_depend_on_the_order(
    changes, factor, levels
) -> None:
    cells = [cell(), cell(**changes)]
    for order in (cells, cells[::-1]):
        (match,) = matches(order)
        assert (match.factor, match.levels) == (factor, levels)
        assert match.first is cells[0]


def test_the_grid_of_the_seed_has_no_pair_for_its_size_question_and_says_why() -> None:
    # Llama-3.2-1B in fp16 against Meta-Llama-3-8B in int8: size and quantization change together.
    small, large = cell(), cell(parameters=8e9, **INT8)
    found = contrasts([small, large], seed=0, n_resamples=20)
    assert found.pairs == ()
    because = {one.factor: one.sentence for one in found.unmatched}
    assert because[Factor.SIZE] == "no two cells differ in size alone; 1 pairs differ in quantization too"
    assert because[Factor.FAMILY] == "all cells are alike in family"


def quantized_grid():
    """Three models, each plain and quantized; quantization takes signal away."""
    return [
        cell(
            seed=n + 10 * is_quantized,
            signal=1.4 - 0.7 * is_quantized,
            family=family,
            **(INT8 if is_quantized else {}),
        )
        for n, (family, is_quantized) in enumerate(product(("llama", "mistral", "qwen"), (False, True)))
    ]


def test_pairs_are_pooled_by_random_effects_and_every_p_value_is_adjusted() -> None:
    found = contrasts(quantized_grid(), seed=0, n_resamples=200)
    pairs = [pair for pair in found.pairs if pair.factor == Factor.QUANTIZATION]
    (summary,) = [one for one in found.summaries if one.factor == Factor.QUANTIZATION]
    assert summary.levels == ("none", "int8")
    assert (summary.n_pairs, summary.n_undefined, summary.n_shared_cells) == (3, 0, 0)
    means = np.array([pair.difference.difference for pair in pairs])
    errors = np.array([pair.difference.se for pair in pairs])
    with np.errstate(all="ignore"):  # statsmodels lets the variance between pairs fall below 0
        oracle = combine_effects(means, errors**2, method_re="dl", use_t=True)
    assert summary.pooling.fixed.mean == pytest.approx(oracle.mean_effect_fe)
    if oracle.tau2 > 0:
        assert summary.pooling.random.mean == pytest.approx(oracle.mean_effect_re)
    assert summary.pooling.random.mean < 0
    assert summary.paired_t_p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    declared = [one.hartung_knapp.p_value for one in found.summaries if one.hartung_knapp]
    q = [one.q_value for one in found.summaries if one.hartung_knapp]
    assert q == pytest.approx(stats.false_discovery_control(declared).tolist())
    p_values = [pair.difference.p_value for pair in found.pairs]
    assert [pair.difference.q_value for pair in found.pairs] == pytest.approx(
        stats.false_discovery_control(p_values).tolist()
    )


def test_family_pairs_stay_apart_by_the_families_they_compare() -> None:
    # Qwen less Llama and Qwen less Mistral are two questions; a mean of both is an answer to none.
    found = contrasts(quantized_grid(), seed=0, n_resamples=50)
    levels = [one.levels for one in found.summaries if one.factor == Factor.FAMILY]
    assert levels == [("llama", "mistral"), ("llama", "qwen"), ("mistral", "qwen")]
    assert all(one.n_pairs == 2 for one in found.summaries if one.factor == Factor.FAMILY)


def test_cells_in_several_pairs_are_counted() -> None:
    sizes = [cell(parameters=size, seed=n) for n, size in enumerate((1e9, 3e9, 8e9))]
    (summary,) = contrasts(sizes, seed=0, n_resamples=50).summaries
    assert (summary.n_pairs, summary.n_shared_cells) == (3, 3)


def test_data_sets_are_independent_and_one_pair_is_no_summary() -> None:
    found = contrasts([cell("squad", 1), cell("trivia_qa", 2)], seed=0)
    (pair,), (summary,) = found.pairs, found.summaries
    assert pair.difference.method == "DeLong, independent items"
    assert summary.pooling is None
    assert "1 pairs have a difference" in summary.undefined_because


def test_a_degenerate_cell_is_named_in_its_pair_and_left_out_of_the_summary() -> None:
    cells = quantized_grid()
    cells[1] = cell(items=items_of([1.0] * 150, [n % 2 == 0 for n in range(150)]), **INT8)
    found = contrasts(cells, seed=0, n_resamples=50)
    (summary,) = [one for one in found.summaries if one.factor == Factor.QUANTIZATION]
    assert (summary.n_pairs, summary.n_undefined) == (2, 1)
    assert any("one score" in (pair.difference.undefined_because or "") for pair in found.pairs)


def test_adding_a_cell_moves_no_difference_of_the_others() -> None:
    cells = quantized_grid()
    few, many = (contrasts(some, seed=0, n_resamples=50) for some in (cells[:2], cells))
    low = {(p.difference.first, p.difference.second): p.difference.low for p in many.pairs}
    assert all(low[p.difference.first, p.difference.second] == p.difference.low for p in few.pairs)


def test_two_cells_of_the_same_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two cells are both"):
        contrasts([cell(), cell()], seed=0)


def test_cell_tests_are_those_of_statsmodels_and_scipy() -> None:
    cells = [
        cell(seed=n, family=family, parameters=size, dataset=dataset)
        for n, (family, size, dataset) in enumerate(
            product(("llama", "qwen", "mistral"), (1e9, 8e9), ("squad", "coqa"))
        )
    ]
    frame = pd.DataFrame(
        {
            "auroc": [placements(c.items.uncertainty, c.items.is_wrong).auroc for c in cells],
            "family": [c.model.family for c in cells],
            "size": np.log10([c.model.parameters for c in cells]),
        }
    )
    found = {(test.factor, test.test, test.levels): test for test in cell_tests(cells)}
    variance = found[Factor.FAMILY, "one-way analysis of variance", ("llama", "mistral", "qwen")]
    oracle = anova_lm(ols("auroc ~ C(family)", frame).fit())
    assert variance.statistic == pytest.approx(oracle.loc["C(family)", "F"])
    assert variance.p_value == pytest.approx(oracle.loc["C(family)", "PR(>F)"])
    welch = found[Factor.FAMILY, "Welch's t test", ("llama", "qwen")]
    a, b = (frame.auroc[frame.family == name] for name in ("llama", "qwen"))
    assert welch.p_value == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert welch.estimate == pytest.approx(b.mean() - a.mean())
    assert welch.low < welch.estimate < welch.high
    line = found[Factor.SIZE, "line over log10 of the parameters", ()]
    fitted = ols("auroc ~ size", frame).fit()
    assert line.estimate == pytest.approx(fitted.params["size"])
    assert line.p_value == pytest.approx(fitted.pvalues["size"])
    assert (line.low, line.high) == pytest.approx(tuple(fitted.conf_int().loc["size"]))
    instruct = found[Factor.INSTRUCT, "one-way analysis of variance", ("base",)]
    assert "takes 2 such levels" in instruct.undefined_because
    p_values = [test.p_value for test in found.values() if test.p_value is not None]
    q_values = [test.q_value for test in found.values() if test.p_value is not None]
    assert q_values == pytest.approx(stats.false_discovery_control(p_values).tolist())


def test_facts_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        facts(parameters=0)
