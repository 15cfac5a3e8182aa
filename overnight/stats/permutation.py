"""The sign-flip test of a mean paired difference, of pairs or of clusters of pairs."""

import numpy as np

from overnight.errors import UndefinedMetricError
from overnight.stats.clusters import Codes, cluster_sums
from overnight.stats.pairs import FloatArray
from overnight.stats.resampling import chunks

_BINOMIAL_COST = 8  # what one binomial draw costs in coins, measured at 5,000 pairs
_TIE = 1e-12  # of the largest sum there can be: sums closer than this are equal, so rounding decides nothing


def sign_flip_p(
    differences: FloatArray,
    *,
    n_resamples: int = 5000,
    rng: np.random.Generator,
    clusters: Codes | None = None,
) -> float:
    """Return the two-sided p-value of no effect, if each difference could as well have had the other sign.

    With ``clusters``, whole clusters change their sign: their sums are what is flipped.

    Flipping m differences of one size leaves 2 * Binomial(m, 1/2) - m of them in sum, so one binomial draw
    per distinct size stands for m coins: the same distribution in less memory. Where there are too many
    distinct sizes for that, coins are thrown.

    Returns:
        (ge + 1) / (R + 1) over R flips, ge of which have a mean at least as far from zero: never 0, and no
        smaller than 1 / (R + 1). All differences zero give 1.

    Raises:
        UndefinedMetricError: there are no differences.
        ValueError: a difference is not finite, or ``n_resamples`` is below 1.

    Source:
        Phipson & Smyth (2010), Stat Appl Genet Mol Biol 9:39, for the + 1.
    """
    if n_resamples < 1:
        raise ValueError(f"n_resamples={n_resamples}; want at least 1")
    if len(differences) == 0:
        raise UndefinedMetricError("no pairs to flip; the mean difference has no p-value")
    if not np.isfinite(differences).all():
        raise ValueError("a difference is not finite; leave out pairs in which a metric is undefined")

    sums = cluster_sums(differences, clusters).sums
    sizes, counts = np.unique(np.abs(sums), return_counts=True)
    observed = abs(float(np.sum(sums)))
    bar = observed - _TIE * float(sizes @ counts)
    n_as_far = 0
    if _BINOMIAL_COST * len(sizes) < len(sums):
        for part in chunks(n_resamples, len(sizes)):
            n_positive = rng.binomial(counts, 0.5, size=(part.stop - part.start, len(sizes)))
            n_as_far += int(np.sum(np.abs((2 * n_positive - counts) @ sizes) >= bar))
    else:
        flipped = np.sort(np.abs(sums))
        for part in chunks(n_resamples, len(sums)):
            heads = _coins(part.stop - part.start, len(sums), rng)
            n_as_far += int(np.sum(np.abs(2.0 * (heads @ flipped) - sizes @ counts) >= bar))
    return (n_as_far + 1) / (n_resamples + 1)


def _coins(n_rows: int, n_coins: int, rng: np.random.Generator) -> FloatArray:
    """Return ``[n_rows, n_coins]`` of 0 and 1, 64 of them from each random word."""
    words = rng.integers(2**64, size=(n_rows, -(-n_coins // 64)), dtype=np.uint64)
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=n_coins)
    return bits.astype(np.float64)
