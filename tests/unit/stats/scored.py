"""Items to judge a measure on, made in a line."""

import numpy as np

from overnight.stats.scored_items import ScoredItems, scored_items


def items_of(uncertainty, is_wrong, first_key=0, clusters=None) -> ScoredItems:
    """Return items in their order; ``clusters`` has a number for each, None where each is its own."""
    keys = [f"i{n:05}" for n in range(first_key, first_key + len(uncertainty))]
    return scored_items(
        {key: None if u is None else float(u) for key, u in zip(keys, uncertainty, strict=True)},
        {key: None if w is None else not w for key, w in zip(keys, is_wrong, strict=True)},
        None if clusters is None else {key: str(c) for key, c in zip(keys, clusters, strict=True)},
    )


def noisy(n, seed, signal=1.0, first_key=0) -> ScoredItems:
    """Return n items whose wrong answers lie ``signal`` standard deviations higher."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(n) < 0.4
    return items_of(rng.normal(size=n) + signal * wrong, wrong, first_key)
