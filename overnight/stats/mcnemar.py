"""McNemar's test: did the treatment right more answers than it spoilt?"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from overnight.stats.pairs import FloatArray

RIGHT_FROM = 0.5  # an item with several draws counts as right where at least half of them are


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """The test on the discordant pairs; odds above 1 favour the treatment."""

    b: int  # control wrong, treatment right
    c: int  # control right, treatment wrong
    p_exact: float
    p_mid: float
    odds_ratio: float | None  # (b + .5) / (c + .5); None: no pair is discordant, nothing estimates it
    odds_ratio_low: float | None
    odds_ratio_high: float | None  # None beside an odds ratio: unbounded above, no pair was spoilt
    confidence: float


def discordant_pairs(control: FloatArray, treatment: FloatArray) -> tuple[int, int]:
    """Return (b, c) of two aligned ``[N]`` arrays of scores in [0, 1], right from `RIGHT_FROM` up."""
    control_right = control >= RIGHT_FROM
    treatment_right = treatment >= RIGHT_FROM
    return int(np.sum(~control_right & treatment_right)), int(np.sum(control_right & ~treatment_right))


def mcnemar(b: int, c: int, *, confidence: float = 0.95) -> McNemar:
    """Test whether b and c discordant pairs are as likely as each other.

    ``p_exact`` is two-sided, from the binomial of min(b, c) in b + c at 1/2; ``p_mid`` counts the observed
    table half, is less conservative and may exceed its level a little. Without discordant pairs both are 1, and
    there is no odds ratio.

    The interval is the exact one of Clopper and Pearson for the share b / (b + c), mapped by p / (1 - p); it
    is conditional on the discordant pairs. It belongs to b / c, of which ``odds_ratio`` is an estimate shrunk
    towards 1, so that with few pairs the two need not be centred alike.

    Raises:
        ValueError: a count is negative, or the confidence is outside (0, 1).

    Source:
        McNemar (1947), Psychometrika 12:153-157; Fagerland, Lydersen & Laake (2013), BMC Med Res Methodol
        13:91 (mid-p); Clopper & Pearson (1934), Biometrika 26:404-413; Haldane-Anscombe +0.5.
    """
    if b < 0 or c < 0:
        raise ValueError(f"discordant pairs are counts, not b={b}, c={c}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; it must lie in (0, 1)")
    n_discordant, fewer = b + c, min(b, c)
    odds = _Odds() if n_discordant == 0 else _odds(b, c, confidence)
    both_tails = 2.0 * float(stats.binom.cdf(fewer, n_discordant, 0.5))
    observed = float(stats.binom.pmf(fewer, n_discordant, 0.5))
    return McNemar(
        b=b,
        c=c,
        p_exact=min(1.0, both_tails),
        p_mid=min(1.0, both_tails - observed),
        odds_ratio=odds.ratio,
        odds_ratio_low=odds.low,
        odds_ratio_high=odds.high,
        confidence=confidence,
    )


class _Odds(NamedTuple):
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


def _odds(b: int, c: int, confidence: float) -> _Odds:
    tail = (1.0 - confidence) / 2.0
    low = float(stats.beta.ppf(tail, b, c + 1)) if b else 0.0
    high = float(stats.beta.ppf(1.0 - tail, b + 1, c)) if c else 1.0
    return _Odds((b + 0.5) / (c + 0.5), low / (1.0 - low), high / (1.0 - high) if high < 1.0 else None)
