"""Results files that other tools wrote: a list by K with ``variance_recovery``, as older sweeps have it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.record import AtK, Curve, Estimate
from overnight.errors import UsageError

_NAMES: Final[Mapping[Measure, tuple[str, str]]] = {
    Measure.FVE: ("variance_recovery", "variance_recovery"),
    Measure.BIAS_AWARE_FVE: ("mse_variance_recovery", "mse_variance_recovery"),
    Measure.MSE: ("avg_mse", "mse"),
    Measure.R_SQUARED_GRAND: ("r_squared", "r_squared"),
}


def curve_of_old(rows: Sequence[Mapping[str, Any]]) -> Curve:
    """Return the curve of such a list; an interval from 0 to 0 was never computed.

    Raises:
        UsageError: an entry has no K, or something that is no number.
    """
    try:
        by_k = tuple(
            AtK(
                k=int(row["k"]),
                measures={measure: _estimate(row, *names) for measure, names in _NAMES.items()},
            )
            for row in sorted(rows, key=lambda row: int(row["k"]))
        )
        return Curve(by_k=by_k, n_vectors=int(rows[0].get("total_positions") or 0))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UsageError(f"results_by_k: found an entry without a number ({error})") from None


def _estimate(row: Mapping[str, Any], name: str, stem: str) -> Estimate:
    low, high = row.get(f"{stem}_ci_lower"), row.get(f"{stem}_ci_upper")
    if low == high == 0:
        low = high = None
    return Estimate(value=row.get(name), ci_lower=low, ci_upper=high)
