"""How far two engines may be apart, from the causes that are known (docs/decisions/0011).

A cause is measured without the other engine, by doing the same rounding inside transformers: what comes out is the
root of the mean square (rms) of what it changes. The log odds of a token may differ by 8 rms, and the mean
log-probability of an answer by 2.
"""

import math
from dataclasses import dataclass

_MEAN_FROM_TOKENS = 8  # errors of fewer tokens do not average out
_SUMMED = 1e-3  # nats; a sum of a whole vocabulary's probabilities in 32 bits is off by 0.0003


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Bounds on differences, in nats.

    Roundings move logits, and a moved logit moves the log odds of a token, log(p / (1 - p)), by as much whether the
    token is sure or not; its log-probability moves by (1 - p) of that.
    """

    name: str
    odds: float  # of the log odds of one token
    mean: float  # of the G-NLL of an answer, per token
    contains: str  # the causes that it has room for

    @property
    def tie(self) -> float:
        """The gap between the log-probabilities of two tokens up to which either may be the likelier one."""
        return _SUMMED + self.odds

    def of_token(self, logprob: float, other: float) -> float:
        """Return the bound on the difference of a token's two log-probabilities."""
        return _SUMMED - self.odds * math.expm1(min(logprob, other))

    def of_mean(self, n_tokens: int) -> float | None:
        """Return the bound on the mean over so many tokens; None where they are too few to have one of their own."""
        return self.mean if n_tokens >= _MEAN_FROM_TOKENS else None


FLOAT = Tolerance(
    name="float",
    odds=0.15,
    mean=0.016,
    contains="queries, keys and values in bfloat16 (rms 0.019 nats of log odds), weights and activations in 16 bits, "
    "sums in another order",
)
QUANTISED = Tolerance(
    name="quantised",
    odds=1.0,
    mean=0.1,
    contains="what float has room for, and activations in 8 bits before they meet quantised weights (rms 0.13 nats of "
    "log odds), or a computation in bfloat16",
)
