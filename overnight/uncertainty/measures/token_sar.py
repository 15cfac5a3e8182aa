"""TokenSAR: token NLLs weighted by what the answer loses without the token, read after the question alone."""

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need
from overnight.uncertainty.measures.weighted import weighted_nll


def token_sar(evidence: Evidence) -> float:
    """Return the sum of -log p_t times R_t / (sum of R) over the tokens of the greedy answer, in nats.

    R_t = 1 - g(x + y, x + y without token t), where x is the question (LM-Polygraph: the whole prompt). An answer
    all of whose tokens have relevance 0 has no value; LM-Polygraph 0.7.0 gives NaN.

    Raises:
        UndefinedMetricError: no relevance was had, all of it is 0, or the answer has no likelihood.

    Source:
        Duan et al. (2024), ACL, arXiv:2307.01379; there over sampled answers, here, as in
        LM-Polygraph, over the greedy one.
    """
    if evidence.relevance is None:
        raise UndefinedMetricError("the relevance of the tokens was not computed")
    return weighted_nll(evidence.greedy.nlls(), evidence.relevance)


MEASURE = Measure(
    name="token_sar",
    title="TokenSAR",
    version=1,
    needs=frozenset({Need.LOGPROBS, Need.RELEVANCE}),
    unit="nats",
    of=token_sar,
)
