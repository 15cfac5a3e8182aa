"""Semantic entropy: how spread out sampled answers are over meanings.

Four estimates are in use under this one name, and two ways to tell meanings apart; each pair has a name of its own.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.clusters import ClusterIds
from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need
from overnight.uncertainty.measures.predictive_entropy import samples_of


def entropy_by_likelihood(nlls: Sequence[float], clusters: ClusterIds) -> float:
    """Return the entropy in nats over clusters that weigh as their samples are likely, made to sum to 1 (Rao).

    Args:
        nlls: ``[n_samples]`` of whole answers, or a token for the length-normalised form.
        clusters: ``[n_samples]``.

    Source:
        Farquhar, Kossen, Kuhn, Gal (2024), Nature 630:625-630.
    """
    masses = _log_masses(nlls, clusters).values()
    total = _log_sum(list(masses))
    return max(0.0, -math.fsum(math.exp(mass - total) * (mass - total) for mass in masses))


def entropy_by_count(clusters: ClusterIds) -> float:
    """Return the entropy in nats over clusters that weigh as many samples as they have; no likelihood is needed.

    Source:
        Farquhar, Kossen, Kuhn, Gal (2024), Nature 630:625-630, its discrete form.
    """
    counts = Counter(clusters).values()
    return math.fsum(count / len(clusters) * math.log(len(clusters) / count) for count in counts)


def entropy_by_sampling(nlls: Sequence[float], clusters: ClusterIds) -> float:
    """Return the mean over samples of -log of the summed likelihood of their cluster, in nats.

    A cluster counts as often as it was drawn; the likelihoods are not made to sum to 1, so the value may be below
    0 where samples repeat themselves. This is what LM-Polygraph reports by default.

    Source:
        Kuhn, Gal, Farquhar (2023), ICLR, arXiv:2302.09664; ``SemanticEntropy`` of LM-Polygraph.
    """
    masses = _log_masses(nlls, clusters)
    return -math.fsum(masses[cluster] for cluster in clusters) / len(clusters)


def _log_masses(nlls: Sequence[float], clusters: ClusterIds) -> dict[int, float]:
    members: dict[int, list[float]] = {}
    for nll, cluster in zip(nlls, clusters, strict=True):
        members.setdefault(cluster, []).append(-nll)
    return {cluster: _log_sum(logs) for cluster, logs in members.items()}


def _log_sum(logs: Sequence[float]) -> float:
    highest = max(logs)  # long answers have probabilities that are no floats
    return highest + math.log(math.fsum(math.exp(log - highest) for log in logs))


Clustering = Callable[[Evidence], ClusterIds]


def _meanings(evidence: Evidence) -> ClusterIds:
    samples_of(evidence)
    if evidence.clusters is None:
        raise UndefinedMetricError("the samples were not compared by an entailment model")
    return evidence.clusters


def _words(evidence: Evidence) -> ClusterIds:
    samples_of(evidence)
    if evidence.same_words is None:
        raise UndefinedMetricError("the words of the samples were not compared")
    return evidence.same_words


def _by_likelihood(evidence: Evidence, *, clusters_of: Clustering) -> float:
    clusters = clusters_of(evidence)
    return entropy_by_likelihood(samples_of(evidence).total_nlls(), clusters)


def _by_mean_likelihood(evidence: Evidence, *, clusters_of: Clustering) -> float:
    clusters = clusters_of(evidence)
    return entropy_by_likelihood(samples_of(evidence).mean_nlls(), clusters)


def _by_count(evidence: Evidence, *, clusters_of: Clustering) -> float:
    return entropy_by_count(clusters_of(evidence))


def _by_sampling(evidence: Evidence, *, clusters_of: Clustering) -> float:
    clusters = clusters_of(evidence)
    return entropy_by_sampling(samples_of(evidence).total_nlls(), clusters)


_ESTIMATES: tuple[tuple[str, str, Callable[..., float], frozenset[Need]], ...] = (
    ("semantic_entropy", "semantic entropy", _by_likelihood, frozenset({Need.LOGPROBS})),
    (
        "length_normalised_semantic_entropy",
        "length-normalised semantic entropy",
        _by_mean_likelihood,
        frozenset({Need.LOGPROBS}),
    ),
    ("discrete_semantic_entropy", "discrete semantic entropy", _by_count, frozenset()),
    (
        "sampled_semantic_entropy",
        "semantic entropy, mean over samples",
        _by_sampling,
        frozenset({Need.LOGPROBS}),
    ),
)

MEASURES = tuple(
    Measure(
        name=f"{name}{suffix}",
        title=f"{title}{remark}",
        version=1,
        needs=needs | more,
        unit="nats",
        of=partial(estimate, clusters_of=clusters_of),
    )
    for suffix, remark, clusters_of, more in (
        ("", "", _meanings, frozenset({Need.SAMPLES, Need.ENTAILMENT})),
        ("_same_words", " (same words)", _words, frozenset({Need.SAMPLES})),
    )
    for name, title, estimate, needs in _ESTIMATES
)
