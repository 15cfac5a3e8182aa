"""RW-G-NLL: token NLLs weighted by what the answer loses without the token, read after passage and question."""

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need
from overnight.uncertainty.measures.weighted import weighted_nll


def rw_g_nll(evidence: Evidence) -> float:
    """Return sum of R_t (-log p_t) / sum of R_t over the tokens of the greedy answer, in nats.

    R_t = 1 - g(x + y, x + y without token t), where x is the passage and the question. Published results of this
    measure divided a g in [0, 1] by 5 once more, which makes every R_t at least .8 and the measure nearly the
    average NLL; and they took tokens away by encoding the answer anew, which lost most items. Neither is done
    here.

    Raises:
        UndefinedMetricError: no relevance was had, all of it is 0, or the answer has no likelihood.
    """
    if evidence.relevance_in_context is None:
        raise UndefinedMetricError("the relevance of the tokens was not computed")
    return weighted_nll(evidence.greedy.nlls(), evidence.relevance_in_context)


MEASURE = Measure(
    name="rw_g_nll",
    title="RW-G-NLL",
    version=1,
    needs=frozenset({Need.LOGPROBS, Need.RELEVANCE}),
    unit="nats",
    of=rw_g_nll,
)
