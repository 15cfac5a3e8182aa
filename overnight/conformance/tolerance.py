"""How far two engines may be apart, from the causes that are known (docs/decisions/0011).

A cause is measured without the other engine, by doing the same rounding inside transformers: what comes out is the
root of the mean square (rms) of the change of a token's log-probability. A token may differ by 10 rms, and the mean of
an answer by 2.
"""

from dataclasses import dataclass

_MEAN_FROM_TOKENS = 8  # errors of fewer tokens do not average out


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Bounds on differences of log-probabilities, in nats."""

    name: str
    token: float  # of one token; also the gap up to which two tokens count as tied
    mean: float  # of the G-NLL of an answer, per token
    contains: str  # the causes that it has room for

    def of_mean(self, n_tokens: int) -> float:
        """Return the bound on the mean over so many tokens."""
        return self.mean if n_tokens >= _MEAN_FROM_TOKENS else self.token


FLOAT = Tolerance(
    name="float",
    token=0.07,
    mean=0.014,
    contains="queries, keys and values in bfloat16 (rms 0.007 nats a token), weights and activations in 16 bits "
    "(0.001), sums in another order (0.0001)",
)
QUANTISED = Tolerance(
    name="quantised",
    token=0.5,
    mean=0.1,
    contains="what float has room for, and activations in 8 bits before they meet quantised weights (rms 0.05 nats a "
    "token), or a computation in bfloat16",
)
