"""How far two engines may be apart: measured causes, and what they add up to (docs/engines.md)."""

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
    token=0.1,
    mean=0.01,
    contains="sums in another order (0.0001 nats a token), weights and activations in 16 bits (0.001), keys and "
    "values in bfloat16 (0.004)",
)
QUANTISED = Tolerance(
    name="quantised",
    token=0.5,
    mean=0.1,
    contains="what float has room for, and llama.cpp's rounding of activations to 8 bits before they meet quantised "
    "weights (0.03 nats a token), or a computation in bfloat16",
)
