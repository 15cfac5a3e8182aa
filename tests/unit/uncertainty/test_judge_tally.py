import math

import pytest

from overnight.uncertainty.judge_tally import judge_tally
from overnight.uncertainty.judging import Judgement


def said(yes: float | None, no: float | None, error: str | None = None) -> Judgement:
    """Return a judgement from probabilities."""
    logs = [None if p is None else math.log(p) for p in (yes, no)]
    return Judgement(yes_logprob=logs[0], no_logprob=logs[1], judge="j@1", error=error)


def test_verdicts_are_counted_with_how_much_of_the_probability_they_had() -> None:
    # Masses .9, .5, 0 (neither is among the likeliest), .4 (a tie); an error has none.
    found = judge_tally(
        [
            said(0.7, 0.2),
            said(None, 0.5),
            said(None, None),
            said(0.2, 0.2),
            said(None, None, "BadResponse: half an answer"),
            said(None, None, "BadResponse: half an answer"),
        ]
    )
    assert (found.n_shown, found.n_yes, found.n_no, found.n_undecided) == (6, 1, 1, 4)
    assert found.mean_mass == pytest.approx((0.9 + 0.5 + 0.0 + 0.4) / 4)
    assert found.smallest_mass == 0.0
    assert found.undecided == (
        ("the judge gave no verdict: BadResponse: half an answer", 2),
        ("the judge had neither yes nor no among its likeliest tokens", 1),
        ("the judge had yes and no equally likely", 1),
    )


def test_a_judge_that_never_replied_has_no_mass_and_no_judgement_makes_no_tally() -> None:
    found = judge_tally([said(None, None, "BadResponse: gone")])
    assert (found.mean_mass, found.smallest_mass, found.n_undecided) == (None, None, 1)
    assert judge_tally([]) is None
