"""What a judge said of the answers of a trial, counted."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.judging import Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTally:
    """The answers that a judge was shown: those it said yes to, those it said no to, and the others."""

    judge: str  # as it stands in the results
    n_yes: int
    n_no: int
    undecided: tuple[tuple[str, int], ...]  # why there is no verdict, and of how many answers; the most first
    mean_mass: float | None  # of the first token's probability, what is on yes or no; None without a reply
    smallest_mass: float | None

    @property
    def n_undecided(self) -> int:
        """Answers without a verdict."""
        return sum(n for _, n in self.undecided)

    @property
    def n_shown(self) -> int:
        """Answers that the judge was shown."""
        return self.n_yes + self.n_no + self.n_undecided


def judge_tally(judgements: Iterable[Judgement]) -> JudgeTally | None:
    """Count judgements; None where there are none."""
    every = list(judgements)
    if not every:
        return None
    said: Counter[bool] = Counter()
    reasons: Counter[str] = Counter()
    for one in every:
        try:
            said[one.says_yes()] += 1
        except UndefinedMetricError as reason:
            reasons[str(reason)] += 1
    masses = [one.mass for one in every if one.error is None]
    return JudgeTally(
        judge=", ".join(sorted({one.judge for one in every})),
        n_yes=said[True],
        n_no=said[False],
        undecided=tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        mean_mass=math.fsum(masses) / len(masses) if masses else None,
        smallest_mass=min(masses, default=None),
    )
