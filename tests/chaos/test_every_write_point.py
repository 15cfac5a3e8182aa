"""A process may die at anything that it does to a file: what it has begun goes on, and ends as if nothing had been."""

import errno
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import Forks, Undisturbed, watched

_KILLED = -9
_KILLS = 5


def _points(undisturbed: Undisturbed) -> Iterator[tuple[int, bool]]:
    """Yield the number of every operation that is another than those before, and whether it is torn there."""
    seen: set[tuple[str, str]] = set()
    for number, operation in enumerate(undisturbed.operations, start=1):
        if operation not in seen:
            seen.add(operation)
            yield number, False
            if operation[0] == "write":
                yield number, True


def test_killed_again_and_again_a_run_ends_as_if_nothing_had_been(
    forks: Forks, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    draw = random.Random(undisturbed.kind)
    for _ in range(_KILLS):
        # Of what is left there are fewer operations every time, and it may have ended before.
        at = draw.randint(1, len(undisturbed.operations) // 2)
        order = watched(tmp_path, at=at, is_torn=draw.random() < 0.5)
        outcome = forks.begin_or_go_on(tmp_path, undisturbed.kind, order)
        assert outcome.code in (_KILLED, 0), outcome.said
    outcome = forks.begin_or_go_on(tmp_path, undisturbed.kind)
    assert outcome.code == 0, outcome.said
    assert undisturbed.differences(tmp_path) == []


@pytest.mark.slow  # some hundred runs of each kind
def test_killed_at_any_point_a_run_ends_as_if_nothing_had_been(
    forks: Forks, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    problems = []
    points = list(_points(undisturbed))
    n_points = int(os.environ.get("OVERNIGHT_CHAOS_POINTS", len(points)))
    points = sorted(random.Random(undisturbed.kind).sample(points, min(n_points, len(points))))
    for number, is_torn in points:
        folder = tmp_path / f"{number}{is_torn}"
        order = watched(folder, at=number, is_torn=is_torn)
        killed = forks.begin_or_go_on(folder, undisturbed.kind, order)
        outcome = forks.begin_or_go_on(folder, undisturbed.kind)
        found = undisturbed.differences(folder) if outcome.code == 0 else [outcome.said]
        if found or killed.code not in (_KILLED, 0):
            problems.append((number, is_torn, undisturbed.operations[number - 1], killed.code, found))
            print(problems[-1])  # noqa: T201 - what a night of kills has found is not to be lost with its end
        shutil.rmtree(folder)
    assert problems == [], f"{len(problems)} of {len(points)} points"


@pytest.mark.slow  # by default the disk is a real one that is small
def test_a_disk_that_fills_up_is_said_in_a_line_and_costs_nothing_once_there_is_room(
    forks: Forks, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    draw = random.Random(undisturbed.kind)
    for _ in range(2):
        order = watched(tmp_path, at=draw.randint(1, len(undisturbed.operations) // 2), error=errno.ENOSPC)
        outcome = forks.begin_or_go_on(tmp_path, undisturbed.kind, order)
        assert "Traceback" not in outcome.said
    outcome = forks.begin_or_go_on(tmp_path, undisturbed.kind)
    assert outcome.code == 0, outcome.said
    assert undisturbed.differences(tmp_path) == []
