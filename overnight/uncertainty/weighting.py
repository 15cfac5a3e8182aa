"""43 ways to weigh the tokens of an answer, each a measure: sum of w_t (-log p_t) over sum of w_t.

An optional study. So many measures on the same items have a best one by chance alone: choose among them with
`overnight.uncertainty.selection`, never by the largest value in a table.

Source:
    The schemes of nikoszka/super-guacamole, phase 6. There the uniform one is called G-NLL; it is the average NLL.
    Where all weights are 0, it puts G-NLL, which has another scale; here there is no value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.evidence import Evidence
from overnight.uncertainty.measure import Measure, Need
from overnight.uncertainty.measures.weighted import weighted_nll

Floats = NDArray[np.float64]

_FAINT: Final = 0.1  # what counts little
_IGNORED: Final = 0.01  # what counts next to nothing; not 0, so that a short answer still has a value
_THIRD: Final = 0.33
_FIFTH: Final = 0.2
BASELINE: Final = "uniform"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens:
    """What weights are made of."""

    nlls: Floats  # [n]
    relevance: Floats | None = None  # [n], after passage and question

    @property
    def n(self) -> int:
        """How many there are, at least one."""
        return len(self.nlls)

    @property
    def place(self) -> Floats:
        """``[n]``, from 0 for the first token to 1 for the last; the only one is at 1."""
        return np.linspace(0.0, 1.0, self.n) if self.n > 1 else np.ones(1)


Weigh = Callable[[Tokens], Floats]


def _scaled(weights: Floats) -> Floats:
    spread = np.ptp(weights)
    return (weights - weights.min()) / spread if spread > 0 else np.ones(len(weights))


def _middle(tokens: Tokens) -> Floats:
    return 1.0 - np.abs(2.0 * tokens.place - 1.0) if tokens.n > 1 else np.ones(1)


def _gaussian(tokens: Tokens) -> Floats:
    steps = np.arange(tokens.n) - (tokens.n - 1) / 2
    return np.asarray(np.exp(-(steps**2) / (2 * (0.3 * tokens.n) ** 2)))


def _powered(tokens: Tokens, *, power: float) -> Floats:
    top = tokens.nlls.max()
    return (tokens.nlls / top) ** power if top > 0 else np.ones(tokens.n)  # all certain: none stands out


def _surprisal(tokens: Tokens) -> Floats:
    return _scaled(tokens.nlls) + _FAINT if np.ptp(tokens.nlls) > 0 else np.ones(tokens.n)


def _between(tokens: Tokens, first: int, after: int, *, inside: float, outside: float) -> Floats:
    """Weigh tokens ``first`` to ``after`` one way and the rest another; a single token always weighs 1."""
    if tokens.n == 1:
        return np.ones(1)
    weights = np.full(tokens.n, outside)
    weights[max(first, 0) : max(after, 0)] = inside
    return weights


def _up_to(tokens: Tokens, share: float) -> int:
    return int(tokens.n * share + 1e-9)  # 100 x .67 is 66.99999999999999


def _first(tokens: Tokens, *, k: int, inside: float, outside: float) -> Floats:
    return _between(tokens, 0, k, inside=inside, outside=outside)


def _last(tokens: Tokens, *, k: int, inside: float, outside: float) -> Floats:
    return _between(tokens, tokens.n - k, tokens.n, inside=inside, outside=outside)


def _ends(tokens: Tokens) -> Floats:
    k = min(3, tokens.n // 2)
    return _between(tokens, k, tokens.n - k, inside=_FAINT, outside=1.0)


def _share(tokens: Tokens, *, start: float, end: float, inside: float, outside: float) -> Floats:
    return _between(tokens, _up_to(tokens, start), _up_to(tokens, end), inside=inside, outside=outside)


_ignore = partial(_share, inside=_IGNORED, outside=1.0)
_only = partial(_share, inside=1.0, outside=_IGNORED)


def _above(tokens: Tokens) -> Floats:
    return np.where(tokens.nlls >= np.percentile(tokens.nlls, 75), 1.0, _FAINT)


def _below(tokens: Tokens) -> Floats:
    return np.where(tokens.nlls <= np.percentile(tokens.nlls, 25), 1.0, _FAINT)


def _relevance(tokens: Tokens) -> Floats:
    if tokens.relevance is None:
        raise UndefinedMetricError("the relevance of the tokens was not computed")
    return tokens.relevance


def _mixed(tokens: Tokens, *, position: Weigh, share: float) -> Floats:
    return share * position(tokens) + (1.0 - share) * _relevance(tokens)


def _times(tokens: Tokens, *, power: float, position: Weigh) -> Floats:
    return _powered(tokens, power=power) * position(tokens)


_not_the_end = partial(_ignore, start=1 - _FIFTH, end=1.0)

SCHEMES: Final[dict[str, Weigh]] = {
    BASELINE: lambda t: np.ones(t.n),
    "linear_increasing": lambda t: t.place,
    "linear_decreasing": lambda t: t.place[::-1],
    "quadratic_increasing": lambda t: t.place**2,
    "quadratic_decreasing": lambda t: t.place[::-1] ** 2,
    "exponential_increasing": lambda t: _scaled(np.exp(2.0 * t.place)),
    "exponential_decreasing": lambda t: _scaled(np.exp(-2.0 * t.place)),
    "middle_peak": _middle,
    "edges_peak": lambda t: np.abs(2.0 * t.place - 1.0),
    "gaussian_middle": _gaussian,
    "nll_proportional": partial(_powered, power=1.0),
    "confidence_proportional": lambda t: np.asarray(np.exp(-t.nlls)),
    "surprisal": _surprisal,
    "first_k": partial(_first, k=3, inside=1.0, outside=_FAINT),
    "last_k": partial(_last, k=3, inside=1.0, outside=_FAINT),
    "first_last_k": _ends,
    "recency_bias": lambda t: np.power(0.95, np.arange(t.n - 1, -1, -1)),
    "high_uncertainty_only": _above,
    "low_uncertainty_only": _below,
    "sar_relevance": _relevance,
    "hybrid_middle_sar_50": partial(_mixed, position=_middle, share=0.5),
    "hybrid_gaussian_sar_50": partial(_mixed, position=_gaussian, share=0.5),
    "hybrid_middle_sar_70": partial(_mixed, position=_middle, share=0.7),
    "hybrid_gaussian_sar_70": partial(_mixed, position=_gaussian, share=0.7),
    "nll_sqrt": partial(_powered, power=0.5),
    "nll_cubic": partial(_powered, power=3.0),
    "nll_quartic": partial(_powered, power=4.0),
    "nll_quintic": partial(_powered, power=5.0),
    "negate_last_3": partial(_last, k=3, inside=_IGNORED, outside=1.0),
    "negate_last_5": partial(_last, k=5, inside=_IGNORED, outside=1.0),
    "negate_last_20pct": _not_the_end,
    "negate_first_3": partial(_first, k=3, inside=_IGNORED, outside=1.0),
    "negate_first_20pct": partial(_ignore, start=0.0, end=_FIFTH),
    "unweight_beginning": partial(_ignore, start=0.0, end=_THIRD),
    "unweight_middle": partial(_ignore, start=_THIRD, end=1 - _THIRD),
    "unweight_end": partial(_ignore, start=1 - _THIRD, end=1.0),
    "only_beginning": partial(_only, start=0.0, end=_THIRD),
    "only_middle": partial(_only, start=_THIRD, end=1 - _THIRD),
    "only_end": partial(_only, start=1 - _THIRD, end=1.0),
    "nll_squared_negate_end": partial(_times, power=2.0, position=_not_the_end),
    "nll_cubic_negate_end": partial(_times, power=3.0, position=_not_the_end),
    "nll_squared_middle_focus": partial(_times, power=2.0, position=_middle),
    "nll_cubic_middle_focus": partial(_times, power=3.0, position=_middle),
}


def _value(evidence: Evidence, *, weigh: Weigh) -> float:
    nlls = evidence.greedy.nlls()
    found = evidence.relevance_in_context
    tokens = Tokens(nlls=np.array(nlls), relevance=None if found is None else np.array(found))
    return weighted_nll(nlls, weigh(tokens).tolist())


WEIGHTINGS: Final[dict[str, Measure]] = {
    name: Measure(
        name=name,
        title="average NLL (uniform weights)" if name == BASELINE else name.replace("_", " "),
        version=1,
        needs=frozenset({Need.LOGPROBS, *([Need.RELEVANCE] if "sar" in name else [])}),
        unit="nats",
        of=partial(_value, weigh=weigh),
    )
    for name, weigh in SCHEMES.items()
}
