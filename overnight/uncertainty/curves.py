"""The lines of a figure: what is drawn of a ranking."""

import numpy as np
from sklearn.metrics import roc_curve

from overnight.stats.pairs import FloatArray
from overnight.stats.scored_items import ScoredItems
from overnight.stats.selective_risk import risk_coverage
from overnight.uncertainty.analysis import Curve

MOST_CORNERS = 200  # more than a figure can show


def roc(items: ScoredItems) -> Curve:
    """Return the share of wrong answers that are refused over the share of right ones; a tie is a slope.

    Raises:
        ValueError: there are only right or only wrong answers.
    """
    refused_right, refused_wrong, _ = roc_curve(items.is_wrong, items.uncertainty)
    return _thinned(refused_right, refused_wrong)


def risk_over_coverage(items: ScoredItems) -> Curve:
    """Return the share of wrong answers among those that are given, over the share of items that is answered.

    It has a corner at each distinct score, from the most certain answers on.

    Raises:
        UndefinedMetricError: there are no items, or all scores are equal.
    """
    curve = risk_coverage(-items.uncertainty, items.correctness, n_items=items.n_items)
    return _thinned(curve.n_covered / items.n_items, curve.n_wrong / curve.n_covered)


def _thinned(x: FloatArray, y: FloatArray) -> Curve:
    """Keep at most `MOST_CORNERS` corners, the ends among them; none is moved."""
    if len(x) > MOST_CORNERS:
        kept = np.linspace(0, len(x) - 1, MOST_CORNERS).round().astype(np.int64)
        x, y = x[kept], y[kept]
    return Curve(x=tuple(x.tolist()), y=tuple(y.tolist()))
