import numpy as np
import pytest

from overnight.errors import UndefinedMetricError
from overnight.stats.robustness import LongTable, fit_clustered_ols, fit_gee

TREATMENT, TEMPERATURE = "treatment", "temperature (centred)"
INTERACTION = "treatment x temperature (centred)"


def table(outcomes: np.ndarray, temperatures: tuple[float, ...] = (0.0,)) -> LongTable:
    """Return the rows of ``[n_items, n_temperatures, 2]`` outcomes, control first."""
    n_items, n_levels, _ = outcomes.shape
    item, level, treatment = (a.ravel() for a in np.indices((n_items, n_levels, 2)))
    return LongTable(
        outcome=outcomes.ravel().astype(float),
        is_treatment=treatment.astype(float),
        temperature=np.array(temperatures)[level],
        group=item,
    )


def correlated(n_items: int, n_levels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(n_items)
    ability = rng.normal(size=(n_items, 1, 1))
    noise = rng.normal(size=(n_items, n_levels, 2))
    return ability + noise + np.array([0.0, 0.4]) > 0


def logit(p: float) -> float:
    return np.log(p / (1 - p))


def test_a_gee_of_two_arms_is_the_log_odds_ratio_of_their_rates() -> None:
    # A parameter a cell and as many rows in each: the estimating equations hold at the cells' own rates.
    outcomes = correlated(200)
    fit = fit_gee(table(outcomes))
    control, treatment = outcomes.mean(axis=(0, 1))
    assert fit.terms["intercept"].estimate == pytest.approx(logit(control), abs=1e-6)
    assert fit.terms[TREATMENT].estimate == pytest.approx(logit(treatment) - logit(control), abs=1e-6)
    assert (fit.n_rows, fit.n_groups) == (400, 200)
    assert 0 < fit.working_correlation < 1


def test_its_error_is_that_of_the_paired_rates_by_the_delta_method() -> None:
    # var(logit p_t - logit p_c) from the covariance of the two means (divisor n, as a plain sandwich has it).
    outcomes = correlated(200)[:, 0, :].astype(float)
    rates = outcomes.mean(axis=0)
    gradient = np.array([-1, 1]) / (rates * (1 - rates))
    variance = gradient @ np.cov(outcomes.T, ddof=0) @ gradient / len(outcomes)
    fit = fit_gee(table(outcomes[:, np.newaxis, :]))
    assert fit.terms[TREATMENT].se == pytest.approx(np.sqrt(variance), rel=1e-4)


def test_temperatures_are_centred_so_the_treatment_is_its_effect_in_the_middle() -> None:
    outcomes = correlated(150, 2)
    fit = fit_gee(table(outcomes, (0.0, 1.0)))
    rates = outcomes.mean(axis=0)  # [temperature, arm]
    effects = [logit(t) - logit(c) for c, t in rates]
    assert fit.terms[TREATMENT].estimate == pytest.approx(np.mean(effects), abs=1e-6)
    assert fit.terms[INTERACTION].estimate == pytest.approx(effects[1] - effects[0], abs=1e-6)


def test_an_ols_of_two_arms_is_the_mean_difference_with_the_paired_error() -> None:
    # Sandwich over items with the factor G / (G - 1) x (N - 1) / (N - k), N = 2 G rows and k = 2 terms.
    outcomes = correlated(80)[:, 0, :] * 0.5 + np.random.default_rng(1).random((80, 2)) / 2
    differences = outcomes[:, 1] - outcomes[:, 0]
    fit = fit_clustered_ols(table(outcomes[:, np.newaxis, :]))
    assert fit.terms[TREATMENT].estimate == pytest.approx(differences.mean())
    wanted = differences.std(ddof=1) / np.sqrt(80) * np.sqrt(159 / 158)
    assert fit.terms[TREATMENT].se == pytest.approx(wanted)
    assert fit.working_correlation is None


def test_the_order_of_rows_and_the_names_of_groups_are_immaterial() -> None:
    rows = table(correlated(60, 2), (0.0, 0.7))
    order = np.random.default_rng(0).permutation(len(rows.outcome))
    mixed = LongTable(
        outcome=rows.outcome[order],
        is_treatment=rows.is_treatment[order],
        temperature=rows.temperature[order],
        group=1000 - rows.group[order],
    )
    for fit in (fit_gee, fit_clustered_ols):
        straight, other = fit(rows), fit(mixed)
        for name, term in straight.terms.items():
            assert other.terms[name].estimate == pytest.approx(term.estimate, abs=1e-6)
            assert other.terms[name].se == pytest.approx(term.se, rel=1e-4)


def test_at_one_temperature_its_terms_are_left_out_and_said_to_be() -> None:
    fit = fit_gee(table(correlated(50)))
    assert set(fit.terms) == {"intercept", TREATMENT}
    assert set(fit.left_out) == {TEMPERATURE, INTERACTION}
    assert "temperature 0" in fit.left_out[TEMPERATURE]


def test_an_interaction_that_was_not_asked_is_left_out() -> None:
    rows = table(correlated(60, 2), (0.0, 0.7))
    kept = ~((rows.is_treatment == 1) & (rows.temperature > 0))
    fit = fit_gee(
        LongTable(
            outcome=rows.outcome[kept],
            is_treatment=rows.is_treatment[kept],
            temperature=rows.temperature[kept],
            group=rows.group[kept],
        )
    )
    assert set(fit.left_out) == {INTERACTION}


def test_few_groups_are_a_caution_and_very_few_a_refusal() -> None:
    assert "30 groups" in fit_gee(table(correlated(30))).cautions[0]
    assert fit_gee(table(correlated(60))).cautions == ()
    for n in (0, 1, 2, 9):
        for fit in (fit_gee, fit_clustered_ols):
            with pytest.raises(UndefinedMetricError, match=f"{n} groups"):
                fit(table(correlated(n)))


def test_data_that_cannot_bear_a_model_are_refused_with_the_reason() -> None:
    outcomes = correlated(40).astype(float)
    for fit in (fit_gee, fit_clustered_ols):
        with pytest.raises(UndefinedMetricError, match="every outcome is 1"):
            fit(table(np.ones((40, 1, 2))))
        with pytest.raises(UndefinedMetricError, match="no group's outcomes differ"):
            fit(table(np.repeat(outcomes[:, :, :1], 2, axis=2)))
        rows = table(outcomes)
        with pytest.raises(UndefinedMetricError, match="one condition"):
            fit(
                LongTable(
                    outcome=rows.outcome,
                    is_treatment=np.zeros(80),
                    temperature=rows.temperature,
                    group=rows.group,
                )
            )
    outcomes[:, :, 1] = 1.0
    with pytest.raises(UndefinedMetricError, match="separation: every treatment outcome at temperature 0"):
        fit_gee(table(outcomes))
    assert fit_clustered_ols(table(outcomes)).terms[TREATMENT].estimate == pytest.approx(
        1 - outcomes[:, :, 0].mean()
    )


@pytest.mark.parametrize("shape", ["opposite", "by temperature", "one differs"])
def test_extreme_outcomes_neither_crash_nor_warn(shape: str) -> None:
    # Warnings are errors in these tests, so a library that speaks on the terminal fails them.
    outcomes = np.zeros((40, 3, 2))
    if shape == "opposite":
        outcomes[:20, :, 0] = outcomes[20:, :, 1] = 1
    elif shape == "by temperature":
        outcomes[:, 1:, :] = 1
    else:
        outcomes[0, 0, 0] = outcomes[20:] = 1
    for fit in (fit_gee, fit_clustered_ols):
        try:
            found = fit(table(outcomes, (0.0, 0.5, 1.0)))
        except UndefinedMetricError:
            continue
        assert all(np.isfinite([t.estimate, t.se, t.p_value]).all() for t in found.terms.values())
