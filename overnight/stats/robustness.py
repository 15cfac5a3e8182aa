"""Does the effect of the prompt hold up in a model of all replies at once?

Marginal models, not mixed-effects ones: generalised estimating equations (GEE) for correctness, ordinary least
squares with cluster-robust standard errors for F1.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from statsmodels.genmod.cov_struct import Exchangeable
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_estimating_equations import GEE
from statsmodels.regression.linear_model import OLS

from overnight.errors import UndefinedMetricError
from overnight.stats.clustered import IntArray
from overnight.stats.pairs import FloatArray

FEWEST_GROUPS = 10  # below it a sandwich estimate of variance means nothing
FEW_GROUPS = 40  # below it, it errs towards too small
_FEWEST_LEVELS = 2
_LARGEST_LOG_ODDS = 15.0  # an odds ratio of 3e6 is a separation that the solver walks towards
_TIE = 1e-12  # values closer than this are the same one, rounded
_INTERCEPT, _TREATMENT, _TEMPERATURE = "intercept", "treatment", "temperature (centred)"
_INTERACTION = "treatment x temperature (centred)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LongTable:
    """One row an item, condition and temperature, in which the outcome is defined."""

    outcome: FloatArray  # [N] in [0, 1]; the mean where an item has several draws
    is_treatment: FloatArray  # [N] 0 or 1
    temperature: FloatArray  # [N]
    group: IntArray  # [N] rows of one group are not independent


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One coefficient: of the log odds in a GEE, of the mean outcome in an OLS."""

    estimate: float
    se: float  # robust
    low: float
    high: float
    p_value: float  # two-sided, of 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A fitted model; a term that the data cannot have stands in `left_out` with the reason."""

    n_rows: int
    n_groups: int
    terms: dict[str, Term]
    left_out: dict[str, str]
    cautions: tuple[str, ...]
    working_correlation: float | None  # of two rows of a group; GEE only


def fit_gee(table: LongTable, *, confidence: float = 0.95) -> Fit:
    """Fit a binomial GEE with exchangeable correlation and robust standard errors.

    logit(mean) = intercept + treatment + temperature + treatment x temperature, temperatures centred on their
    mean, so that "treatment" is the log odds ratio at the mean temperature.

    Raises:
        UndefinedMetricError: the data cannot bear the model (few groups, one condition, constant or separated
            outcomes), or the fit did not converge.

    Source:
        Liang & Zeger (1986), Biometrika 73:13-22.
    """
    design, left_out = _design(table)
    _refuse_separation(table)
    _refuse_identical_arms(table)
    model = GEE(
        table.outcome,
        np.column_stack(list(design.values())),
        groups=table.group,
        family=Binomial(),
        cov_struct=Exchangeable(),
    )
    result, said = _quietly(model.fit)
    if not result.converged or np.abs(result.params).max() > _LARGEST_LOG_ODDS:
        raise UndefinedMetricError(
            "the fit did not converge: the outcomes are separated, or nearly so, by condition and temperature"
        )
    correlation = float(result.cov_struct.dep_params)
    return _fit(table, list(design), result, left_out, said, confidence, correlation)


def fit_clustered_ols(table: LongTable, *, confidence: float = 0.95) -> Fit:
    """Fit the outcome by ordinary least squares with cluster-robust standard errors, t with G - 1 degrees.

    The terms are those of `fit_gee`, in the unit of the outcome.

    Raises:
        UndefinedMetricError: the data cannot bear the model (few groups, one condition, a constant outcome).

    Source:
        Cameron & Miller (2015), J Hum Resour 50:317-372.
    """
    design, left_out = _design(table)
    _refuse_identical_arms(table)
    model = OLS(table.outcome, np.column_stack(list(design.values())))
    result, said = _quietly(
        lambda: model.fit(cov_type="cluster", cov_kwds={"groups": table.group}, use_t=True)
    )
    return _fit(table, list(design), result, left_out, said, confidence, None)


def _design(table: LongTable) -> tuple[dict[str, FloatArray], dict[str, str]]:
    """Return the columns of the design by name, and the terms that the data cannot have."""
    n_groups = len(np.unique(table.group))
    if n_groups < FEWEST_GROUPS:
        raise UndefinedMetricError(
            f"{n_groups} groups of rows; robust standard errors take at least {FEWEST_GROUPS}"
        )
    if len(np.unique(table.is_treatment)) < _FEWEST_LEVELS:
        raise UndefinedMetricError("one condition only: there is no treatment to estimate")
    if np.ptp(table.outcome) < _TIE:
        raise UndefinedMetricError(f"every outcome is {table.outcome[0]:g}: there is nothing to explain")
    columns = {_INTERCEPT: np.ones(len(table.outcome)), _TREATMENT: table.is_treatment}
    levels = np.unique(table.temperature)
    if len(levels) < _FEWEST_LEVELS:
        why = f"every reply is at temperature {levels[0]:g}"
        return columns, {_TEMPERATURE: why, _INTERACTION: why}
    columns[_TEMPERATURE] = table.temperature - table.temperature.mean()
    columns[_INTERACTION] = columns[_TEMPERATURE] * table.is_treatment
    design = np.column_stack(list(columns.values()))
    if np.linalg.matrix_rank(design.T @ design / len(design)) < len(columns):
        del columns[_INTERACTION]
        return columns, {_INTERACTION: "not every condition is there at two temperatures"}
    return columns, {}


def _refuse_separation(table: LongTable) -> None:
    """Refuse outcomes of which some cell is all right or all wrong, where that sends a coefficient to infinity.

    With at most two temperatures the model has a parameter a cell; with more, a whole condition is looked at.
    """
    levels = np.unique(table.temperature)
    is_saturated = len(levels) <= _FEWEST_LEVELS
    cell = np.searchsorted(levels, table.temperature) if is_saturated else np.zeros(len(table.outcome))
    for condition, name in ((0.0, "control"), (1.0, "treatment")):
        for level in np.unique(cell):
            outcome = table.outcome[(table.is_treatment == condition) & (cell == level)]
            if len(outcome) and (outcome.max() < _TIE or outcome.min() > 1 - _TIE):
                at = f" at temperature {levels[int(level)]:g}" if is_saturated else ""
                raise UndefinedMetricError(
                    f"separation: every {name} outcome{at} is {round(outcome[0])}, its log odds are unbounded"
                )


def _refuse_identical_arms(table: LongTable) -> None:
    """Refuse groups inside of which nothing differs: then the effect is 0 without any error."""
    _, member = np.unique(table.group, return_inverse=True)
    low, high = np.full(member.max() + 1, np.inf), np.full(member.max() + 1, -np.inf)
    np.minimum.at(low, member, table.outcome)
    np.maximum.at(high, member, table.outcome)
    if (high - low).max() < _TIE:
        raise UndefinedMetricError("no group's outcomes differ between conditions or temperatures")


def _quietly(fit: Any) -> tuple[Any, tuple[str, ...]]:
    """Return a fit and what the library warned of, so that a warning stands in the file, not on the terminal.

    Raises:
        UndefinedMetricError: the fit broke down numerically.
    """
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            result = fit()
            params, errors = np.asarray(result.params), np.asarray(result.bse)
        except (np.linalg.LinAlgError, ValueError, FloatingPointError, ZeroDivisionError) as error:
            raise UndefinedMetricError(f"the fit broke down ({type(error).__name__}: {error})") from None
    said = tuple(dict.fromkeys(f"{w.category.__name__}: {' '.join(str(w.message).split())}" for w in caught))
    if not (np.isfinite(params).all() and np.isfinite(errors).all() and (errors > 0).all()):
        raise UndefinedMetricError("; ".join(("the fit has no finite standard errors", *said)))
    return result, said


def _fit(
    table: LongTable,
    names: list[str],
    result: Any,
    left_out: dict[str, str],
    said: tuple[str, ...],
    confidence: float,
    correlation: float | None,
) -> Fit:
    bounds = np.asarray(result.conf_int(alpha=1 - confidence))
    n_groups = len(np.unique(table.group))
    few = (f"{n_groups} groups: with fewer than {FEW_GROUPS}, robust standard errors are too small",)
    return Fit(
        n_rows=len(table.outcome),
        n_groups=n_groups,
        terms={
            name: Term(estimate=float(b), se=float(se), low=float(low), high=float(high), p_value=float(p))
            for name, b, se, (low, high), p in zip(
                names, result.params, result.bse, bounds, result.pvalues, strict=True
            )
        },
        left_out=left_out,
        cautions=(few if n_groups < FEW_GROUPS else ()) + said,
        working_correlation=correlation,
    )
