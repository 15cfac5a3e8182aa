"""What ``overnight tune`` says where it chooses nothing."""

import re
from datetime import UTC, datetime
from typing import cast

import pytest

from overnight.cli.tuning import why_none
from overnight.spec.model import ModelSpec
from overnight.tuning.candidates import Candidate
from overnight.tuning.race import Outcome, Speed, Status
from overnight.tuning.tuning import Tuning


def tuned(*measured: bool, seconds: float = 60) -> Tuning:
    outcomes = [
        Outcome(
            candidate=Candidate(context_tokens=256, gives_up=None),
            status=Status.MEASURED if each else Status.NOT_REACHED,
            speed=Speed(((4, 10.0),)) if each else None,
        )
        for each in measured
    ]
    return Tuning(
        model=cast("ModelSpec", None),
        outcomes=tuple(outcomes),
        machine={},
        at=datetime.now(UTC),
        seconds=seconds,
    )


@pytest.mark.parametrize(
    ("tuning", "said"),
    [
        # One took the whole minute, five are to share 60 % of the time: 5 / 0.6 = 8.3.
        (tuned(True, False, False, False, False), "only 1 of 5 settings.*--minutes 9 "),
        (tuned(False, False), "no setting could be measured in the time; give more"),
        (tuned(), "the table says why"),
    ],
)
def test_a_lack_of_time_is_said_to_be_one_and_how_much_would_do(tuning: Tuning, said: str) -> None:
    assert re.search(said, why_none(tuning))
