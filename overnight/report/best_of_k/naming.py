"""Numbers of recovery in words: the same ones in Markdown, on the page and in the figures."""

from typing import Final

from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.record import Costs, Estimate, KSweepResults
from overnight.report.wording import (
    MINUS,
    NOT_AVAILABLE,
    decimal,
    not_available,
    percent,
    points,
    significant,
)

SHARES: Final = (Measure.FVE, Measure.BIAS_AWARE_FVE, Measure.R_SQUARED_GRAND)
HOW_TO_READ: Final = (
    "K texts of a vector are drawn, each is made a vector again, and one of them is kept. The oracle keeps the one "
    "that is closest to the vector: it has to see the vector to choose, so it is an upper bound on any way to choose "
    "and no number that a user of the lens gets. The selectors that need no vector are what one can have.",
    "Bias-aware FVE is the share of the variance of the vectors that is explained; FVE is the same with a constant "
    "error forgiven, so it is the higher of the two, and it need not grow with K, since the draw that is kept is the "
    "one with the lowest error, its constant part included.",
    "Every K is the mean over all sets of K out of the draws there are, not one such set: the curve has no noise of "
    "its own, all K share the same draws, and the best of K never gets worse with K in error and bias-aware FVE.",
    "A baseline goes through the same choice: the best of K texts that have nothing to do with the vector also gets "
    "better with K. What a lens says about vectors is how far it is above that, not above 0.",
    "Intervals are of texts drawn anew with all their vectors (percentile; BCa is in k_sweep_results.json). Gaps and "
    "differences are resampled as pairs, so they can be clear where two intervals overlap. Nothing is corrected for "
    "the number of trials, selectors and K that are looked at.",
    "Within a role the spread is about the mean of the role, so all roles together may recover more than any of them.",
)


def share(found: Estimate | None, *, with_interval: bool = True) -> str:
    """Return a share of variance in percent with its interval, or why there is none."""
    if found is None or found.value is None:
        return not_available(found.undefined_because if found else None)
    low, high = percent(found.ci_lower), percent(found.ci_upper)
    return (
        f"{percent(found.value)} ({low} to {high})"
        if with_interval and low and high
        else percent(found.value)
    )


def ahead(found: Estimate | None) -> str:
    """Return a difference of shares in points with its interval, or why there is none."""
    if found is None or found.value is None:
        return not_available(found.undefined_because if found else None)
    low, high = points(found.ci_lower), points(found.ci_upper)
    return f"{points(found.value)} ({low} to {high})" if low and high else points(found.value)


def lead(found: Estimate | None) -> str:
    """Return a difference that is above 0 without its sign: ``3.4 points (2.9 to 3.8)``."""
    text = ahead(found).replace("+", "")
    return text.replace(" (", " points (") if " (" in text else f"{text} points"


def number(found: Estimate | None, measure: Measure) -> str:
    """Return a measure without its interval: shares in percent, cosines and ratios with decimals."""
    if found is None or found.value is None:
        return not_available(found.undefined_because if found else None)
    if measure in SHARES:
        return percent(found.value)
    if measure in (Measure.COSINE, Measure.NORMALISED_MSE):
        return decimal(found.value, 3)
    return significant(found.value, 4) or NOT_AVAILABLE


def gained_share(value: float) -> str:
    """Return a share of the oracle's gain in whole percent; what rounds to nothing has no sign."""
    text = percent(value, 0)
    return "0" if text == f"{MINUS}0" else text


def takes(costs: Costs, k: int) -> str:
    """Return what K texts of a vector cost: ``1,024 tokens, 0.75 s``."""
    if costs.tokens_per_draw is None:
        return NOT_AVAILABLE
    seconds = "" if costs.seconds_per_draw is None else f", {significant(k * costs.seconds_per_draw, 2)} s"
    return f"{decimal(k * costs.tokens_per_draw, 0)} tokens{seconds}"


def level(results: KSweepResults) -> str:
    """Return how wide the intervals of a trial are: ``95 %``."""
    found = results.eval_config.get("statistics", {}).get("confidence")
    return "confidence" if found is None else f"{100 * found:g}\u00a0%"
