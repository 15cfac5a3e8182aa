"""From an uncertainty to a probability of being right, by a fit that has not seen the item."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from overnight.errors import UndefinedMetricError
from overnight.stats.pairs import FloatArray
from overnight.stats.scored_items import BoolArray, ScoredItems

_HARDLY_PENALISED = 1e6  # scikit-learn's name for "no penalty" changes between versions


class CalibrationFit(StrEnum):
    """How an uncertainty is mapped."""

    ISOTONIC = "isotonic"  # any falling step function
    PLATT = "platt"  # a logistic curve


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossFitted:
    """Probabilities of being right, each from a fit to the other folds; whatever shows them shows ``name``."""

    probability: FloatArray  # [N]
    name: str


def cross_fitted(
    items: ScoredItems, fit: CalibrationFit, *, rng: np.random.Generator, n_folds: int = 5
) -> CrossFitted:
    """Map an uncertainty to probabilities by cross-fitting.

    What is judged afterwards is the measure *with* this fit: the measure itself has no calibration.

    Args:
        items: to fit and to map.
        fit: isotonic regression that falls with uncertainty, or Platt's logistic curve with his smoothed
            targets (which may rise, where a measure points the wrong way).
        rng: moved by the draw of the folds, which are stratified by label.
        n_folds: at least 2.

    Raises:
        UndefinedMetricError: a class has fewer items than there are folds, or all scores are equal.

    Source:
        Zadrozny & Elkan (2002), KDD; Platt (1999), Advances in Large Margin Classifiers.
    """
    if min(items.n_right, items.n_wrong) < n_folds:
        raise UndefinedMetricError(
            f"{items.n_right} right and {items.n_wrong} wrong answers; {n_folds} folds take as many of each"
        )
    if np.ptp(items.uncertainty) == 0.0:
        raise UndefinedMetricError(f"all {items.n_items} items have one score, from which nothing is fitted")
    folds = StratifiedKFold(n_splits=n_folds, shuffle=True, random_state=int(rng.integers(2**31)))
    mapped = _isotonic if fit == CalibrationFit.ISOTONIC else _platt
    probability = np.empty(items.n_items)
    for seen, unseen in folds.split(items.uncertainty, items.is_wrong):
        probability[unseen] = mapped(
            items.uncertainty[seen], ~items.is_wrong[seen], items.uncertainty[unseen]
        )
    return CrossFitted(probability=probability, name=f"after {fit} calibration, {n_folds}-fold cross-fitted")


def _isotonic(seen: FloatArray, is_right: BoolArray, unseen: FloatArray) -> FloatArray:
    fit = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=False, out_of_bounds="clip")
    fit.fit(seen, is_right.astype(np.float64))
    return np.asarray(fit.predict(unseen), dtype=np.float64)


def _platt(seen: FloatArray, is_right: BoolArray, unseen: FloatArray) -> FloatArray:
    # Platt's targets, (n + 1) / (n + 2) instead of 1 and 1 / (n + 2) instead of 0, as weights of two labels.
    n_right, n_wrong = int(is_right.sum()), int((~is_right).sum())
    target = np.where(is_right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    centre, scale = seen.mean(), seen.std() or 1.0
    both = np.tile((seen - centre) / scale, 2)[:, np.newaxis]
    labels = np.repeat([1, 0], len(seen))
    fit = LogisticRegression(C=_HARDLY_PENALISED)
    fit.fit(both, labels, sample_weight=np.concatenate([target, 1.0 - target]))
    return np.asarray(fit.predict_proba(((unseen - centre) / scale)[:, np.newaxis])[:, 1], dtype=np.float64)
