"""``candidates.jsonl``: the texts of each vector, how far each is from it, and which one a selector would keep."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overnight.best_of_k.order_statistics import best_at
from overnight.best_of_k.selectors import medoid_agreement
from overnight.best_of_k.vector import Vector
from overnight.stats.pairs import FloatArray


def candidate_row(
    vector: Vector,
    x: NDArray[Any],
    reconstructions: NDArray[Any],
    *,
    texts: Sequence[str | None],
    n_tokens: NDArray[np.integer],
    logprobs: FloatArray,
    ks: Sequence[int],
) -> dict[str, Any]:
    """Return the line of a vector.

    Args:
        vector: where it was read.
        x: ``[D]``.
        reconstructions: ``[n, D]``; NaN for a draw that failed, whose numbers are null then.
        texts: n; None for a draw that failed.
        n_tokens: ``[n]``.
        logprobs: ``[n]`` in nats, sums over the tokens.
        ks: numbers of draws, for the expected lowest error.
    """
    errors, cosines = errors_of(x, reconstructions), cosines_of(x, reconstructions)
    norms = np.linalg.norm(np.asarray(reconstructions, dtype=np.float64), axis=1)
    usable = np.flatnonzero(~np.isnan(errors))
    by_error = usable[np.argsort(errors[usable], kind="stable")]
    agreement = medoid_agreement(reconstructions[usable]).sum(axis=1) if len(usable) else np.zeros(0)
    scored = usable[~np.isnan(logprobs[usable])]
    numbers = zip(*map(_briefly, (logprobs, errors, cosines, norms)), strict=True)
    return {
        **vector.to_json(),
        "norm": _brief(float(np.linalg.norm(np.asarray(x, dtype=np.float64)))),
        "n_usable": len(usable),
        "best": int(by_error[0]) if len(usable) else None,
        "median": int(by_error[(len(usable) - 1) // 2]) if len(usable) else None,
        "likeliest": int(scored[np.argmax(logprobs[scored])]) if len(scored) else None,
        "medoid": int(usable[np.argmax(agreement)]) if len(usable) else None,
        "mse_by_k": {str(each.k): _brief(each.value) for each in best_at(errors, ks)},
        "draws": [
            {
                "draw": draw,
                "text": text,
                "n_tokens": int(n_tokens[draw]) if text is not None else None,
                "logprob": logprob,
                "mse": mse,
                "cosine": cosine,
                "norm": norm,
            }
            for draw, (text, (logprob, mse, cosine, norm)) in enumerate(zip(texts, numbers, strict=True))
        ],
    }


def errors_of(x: NDArray[Any], reconstructions: NDArray[Any]) -> FloatArray:
    """Return the mean squared error ``[n]`` of ``[n, D]`` reconstructions of ``[D]``; NaN where there is none."""
    difference = np.asarray(reconstructions, dtype=np.float64) - np.asarray(x, dtype=np.float64)
    return np.asarray(np.einsum("nd,nd->n", difference, difference) / difference.shape[1])


def cosines_of(x: NDArray[Any], reconstructions: NDArray[Any]) -> FloatArray:
    """Return the cosine ``[n]`` of each reconstruction and the vector; NaN where one of them is zero or missing."""
    rows, own = np.asarray(reconstructions, dtype=np.float64), np.asarray(x, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(own)
    found = rows @ own / np.where(lengths > 0.0, lengths, np.nan)
    return np.asarray(np.clip(found, -1.0, 1.0))


def _briefly(values: FloatArray) -> list[float | None]:
    """Return numbers with nine digits, None for no number: a line holds hundreds of them."""
    return [_brief(value) for value in values.tolist()]


def _brief(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(f"{value:.9g}")
