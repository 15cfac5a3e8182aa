"""What selectors, baselines and intervals are, in words: the same ones in every file and report."""

from collections.abc import Mapping
from typing import Final

from overnight.best_of_k.baselines import Baseline
from overnight.best_of_k.selectors import Selector

SELECTOR_NAMES: Final[Mapping[Selector, str]] = {
    Selector.ORACLE: "oracle",
    Selector.LOG_PROBABILITY: "log-probability",
    Selector.MEAN_LOG_PROBABILITY: "log-probability a token",
    Selector.SELF_CONSISTENCY: "self-consistency",
    Selector.MEDOID: "medoid",
}
BASELINE_NAMES: Final[Mapping[Baseline, str]] = {
    Baseline.MEAN_VECTOR: "mean vector",
    Baseline.SHUFFLED: "shuffled texts",
    Baseline.OTHERS: "texts of other vectors",
}
WORDS: Final[Mapping[str, str]] = {
    Selector.ORACLE: (
        "of K texts the one whose reconstruction is closest to the vector; it looks at the vector, so it is an upper "
        "bound and no way to choose"
    ),
    Selector.LOG_PROBABILITY: "the text that the decoder finds likeliest as a whole, which favours short ones",
    Selector.MEAN_LOG_PROBABILITY: "the text with the highest mean log-probability of its tokens",
    Selector.SELF_CONSISTENCY: "the text whose reconstruction has the highest mean cosine to those of the other K - 1",
    Selector.MEDOID: "the text whose reconstruction has the smallest sum of distances to those of the other K - 1",
    Baseline.MEAN_VECTOR: "the mean of the vectors of all other sources, for every vector; no text at all",
    Baseline.SHUFFLED: "the K texts of one vector of another source, the best of them kept by the oracle",
    Baseline.OTHERS: "K texts, each of another vector of another source, the best of them kept by the oracle",
    "expectation": (
        "every K is the mean over all sets of K out of the draws of a vector (order statistics), so all K share draws"
    ),
    "interval": (
        "sources (texts) are drawn anew with all their vectors; ci: percentile, bca: bias-corrected and accelerated; "
        "gaps are resampled as pairs"
    ),
    "seconds": "of devices, drawing and encoding, divided among the draws of a chunk",
}
