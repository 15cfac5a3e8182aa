"""How long it will take: from what was measured on this machine with this model, or not at all.

The method. Tokens follow from text: each measured stretch says how many tokens a byte of prompt came to, how many
of them the engine had to evaluate for each byte that did not stand at the beginning of the prompt before it, and
how long its completions were. Seconds follow from tokens: with three stretches or more, one rate for evaluated
prompt tokens and one for completion tokens are fitted to all of them by non-negative least squares on relative
errors; with fewer, a request takes as long as it did. The interval comes from the past: each stretch is predicted
from the others, and the spread of the logarithms of measured over predicted, taken as normal, gives the interval
that holds nine nights of ten. A single stretch has no spread; its interval is half to double.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from overnight.planning.work import Work

_MANY_STRETCHES = 3  # from which two rates can be told apart
_COVERAGE = 0.90
_FACTOR_OF_ONE_STRETCH = 2.0
# Two nights of the same work on one machine differ by about this much at least.
_SMALLEST_SPREAD = 0.05
_OFTEN_CUT_OFF = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One stretch of generation on one machine with one model; counts are of answers that were computed."""

    n_requests: int
    n_truncated: int
    prompt_tokens: int  # of all prompts
    evaluated_tokens: int  # of these, not taken from the prefix cache
    completion_tokens: int
    prompt_bytes: int
    new_bytes: int
    limit_tokens: int
    inference_s: float
    load_s: float | None

    @property
    def work(self) -> Work:
        """What was asked for, as a plan would have put it."""
        return Work(
            n_requests=self.n_requests,
            prompt_bytes=self.prompt_bytes,
            new_bytes=self.new_bytes,
            limit_tokens=self.limit_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What some work will take; None where it is unknown, with the reason."""

    seconds: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    n_measurements: int = 0
    method: str | None = None
    undefined_because: str | None = None

    def as_row(self) -> dict[str, Any]:
        """Return the estimate as it stands in ``plan.json``."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class _Tokens:
    prompt: float
    evaluated: float
    completion: float


_Predictor = Callable[[Sequence[Measurement], Work], float]


def estimate(work: Work, measurements: Sequence[Measurement], *, unknown: str) -> Estimate:
    """Return what some work will take on the machine and with the model that were measured.

    Args:
        work: what is going to be asked.
        measurements: stretches on this machine with this model.
        unknown: why there are none, where there are none.
    """
    if work.n_requests == 0:
        return Estimate(
            seconds=0.0, low_s=0.0, high_s=0.0, prompt_tokens=0, completion_tokens=0, method="nothing to ask"
        )
    usable = [m for m in measurements if m.n_requests and m.inference_s > 0]
    if not usable:
        return Estimate(undefined_because=unknown)
    by_tokens = len(usable) >= _MANY_STRETCHES
    predict: _Predictor = _by_tokens if by_tokens else _by_requests
    seconds = predict(usable, work)
    factor = _interval_factor(usable, predict)
    tokens = _tokens(usable, work)
    return Estimate(
        seconds=round(seconds, 3),
        low_s=round(seconds / factor, 3),
        high_s=round(seconds * factor, 3),
        prompt_tokens=round(tokens.prompt),
        completion_tokens=round(tokens.completion),
        n_measurements=len(usable),
        method="token rates" if by_tokens else "seconds a request",
    )


def estimate_load(measurements: Sequence[Measurement]) -> float | None:
    """Return the mean seconds that loading took, or None where it was never measured."""
    loads = [m.load_s for m in measurements if m.load_s is not None]
    return sum(loads) / len(loads) if loads else None


def total(parts: Sequence[Estimate], *, load_s: float = 0.0) -> Estimate:
    """Return the sum of some estimates and of what loading takes; unknown where one of them is.

    Lows and highs are added up: parts on one machine err together, and a sum is no surer than they are.
    """
    for part in parts:
        if part.undefined_because:
            return Estimate(undefined_because=part.undefined_because)
    methods = sorted({part.method for part in parts if part.method and part.n_measurements})
    return Estimate(
        seconds=round(load_s + sum(part.seconds or 0.0 for part in parts), 3),
        low_s=round(load_s + sum(part.low_s or 0.0 for part in parts), 3),
        high_s=round(load_s + sum(part.high_s or 0.0 for part in parts), 3),
        prompt_tokens=sum(part.prompt_tokens or 0 for part in parts),
        completion_tokens=sum(part.completion_tokens or 0 for part in parts),
        n_measurements=min((part.n_measurements for part in parts if part.n_measurements), default=0),
        method=", ".join(methods) or "nothing to ask",
    )


def _by_requests(measurements: Sequence[Measurement], work: Work) -> float:
    """Return seconds, a request taking as long as it did."""
    return (
        work.n_requests * sum(m.inference_s for m in measurements) / sum(m.n_requests for m in measurements)
    )


def _by_tokens(measurements: Sequence[Measurement], work: Work) -> float:
    """Return seconds by one rate for evaluated prompt tokens and one for completion tokens."""
    from scipy.optimize import nnls  # noqa: PLC0415 - a plan without measurements needs none

    rows = [[m.evaluated_tokens / m.inference_s, m.completion_tokens / m.inference_s] for m in measurements]
    (evaluated_s, completion_s), _ = nnls(rows, [1.0] * len(rows))
    tokens = _tokens(measurements, work)
    seconds = float(evaluated_s * tokens.evaluated + completion_s * tokens.completion)
    return seconds if seconds > 0 else _by_requests(measurements, work)


def _tokens(measurements: Sequence[Measurement], work: Work) -> _Tokens:
    """Return how many tokens some work will come to.

    Completions keep their mean length where they rarely ran into a limit that is not lower now; otherwise their
    length goes with the limit.
    """
    n_requests = sum(m.n_requests for m in measurements)
    limit = sum(m.limit_tokens for m in measurements)
    completion = sum(m.completion_tokens for m in measurements)
    is_cut_off = sum(m.n_truncated for m in measurements) > _OFTEN_CUT_OFF * n_requests
    is_lower = work.limit_tokens * n_requests < limit * work.n_requests
    prompt_bytes, new_bytes = (
        sum(getattr(m, name) for m in measurements) for name in ("prompt_bytes", "new_bytes")
    )
    return _Tokens(
        prompt=_share(sum(m.prompt_tokens for m in measurements), prompt_bytes) * work.prompt_bytes,
        evaluated=_share(sum(m.evaluated_tokens for m in measurements), new_bytes) * work.new_bytes,
        completion=_share(completion, limit) * work.limit_tokens
        if is_cut_off or is_lower
        else completion / n_requests * work.n_requests,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _interval_factor(measurements: Sequence[Measurement], predict: _Predictor) -> float:
    """Return by what the prediction is divided and multiplied to hold nine nights of ten.

    exp(t s sqrt(1 + 1/k)): the prediction interval of one further value of a normal sample of k, of the
    logarithms of measured over predicted seconds, each stretch predicted from the others.
    """
    k = len(measurements)
    if k == 1:
        return _FACTOR_OF_ONE_STRETCH
    from scipy.stats import t  # noqa: PLC0415

    errors = []
    for index, left_out in enumerate(measurements):
        others = [*measurements[:index], *measurements[index + 1 :]]
        errors.append(math.log(left_out.inference_s / predict(others, left_out.work)))
    spread = max(_SMALLEST_SPREAD, math.sqrt(sum(error**2 for error in errors) / k))
    return math.exp(float(t.ppf((1 + _COVERAGE) / 2, k - 1)) * spread * math.sqrt(1 + 1 / k))
