from dataclasses import replace

import pytest

from overnight.memory.processes import MeasuredPeak
from overnight.tuning.candidates import Candidate
from overnight.tuning.race import Outcome, Speed, Status, fastest, finalists, stretches


def outcome(
    per_minute: float | None, mib: int | None = None, *, truncated: int = 0, gives_up: str | None = None
) -> Outcome:
    """Return an outcome of four stretches of 60 answers, all equally fast."""
    speed = None if per_minute is None else Speed(((60, 3600 / per_minute),) * 4)
    return Outcome(
        candidate=Candidate(settings={"engine.threads": 1}, context_tokens=256, gives_up=gives_up),
        status=Status.FAILED if speed is None else Status.MEASURED,
        speed=speed,
        n_truncated=truncated,
        peak=None
        if mib is None
        else MeasuredPeak(host_bytes=mib << 20, host_anonymous_bytes=None, device_bytes=None, n_samples=1),
    )


def spread(*seconds: float) -> Outcome:
    return replace(outcome(1), speed=Speed(tuple((1, each) for each in seconds)))


def test_the_interval_is_students_over_the_seconds_of_an_answer() -> None:
    # By hand: means 1, 2, 3 s; s = 1, sem = 0.57735, t(0.975, 2) = 4.302653 (tables): 2 +- 2.484 s, whose lower end is
    # below 0: the fastest stretch bounds the rate.
    wide = Speed(((10, 10.0), (10, 20.0), (10, 30.0)))
    assert wide.per_minute == 30.0
    assert wide.interval == pytest.approx((60 / 4.484138, 60.0), rel=1e-6)
    # s = 0.1: 2 +- 0.248414 s.
    narrow = Speed(((10, 19.0), (10, 20.0), (10, 21.0)))
    assert narrow.interval == pytest.approx((60 / 2.248414, 60 / 1.751586), rel=1e-6)


def test_fewer_than_three_stretches_have_no_interval() -> None:
    assert Speed(((10, 10.0), (10, 20.0))).interval is None


def test_answers_are_cut_into_stretches_of_equally_many() -> None:
    # One answer a second: 12 of them are 6 stretches of 2 answers and 2 s.
    found = stretches([(float(second), 1) for second in range(1, 13)])
    assert found == Speed(((2, 2.0),) * 6)


def test_answers_that_came_in_one_batch_are_not_cut_apart() -> None:
    assert stretches([(4.0, 64), (8.0, 64)]) == Speed(((64, 4.0), (64, 4.0)))
    assert stretches([(4.0, 64)]) == Speed(((64, 4.0),))
    assert stretches([]) is None


def test_no_answer_is_lost_between_stretches() -> None:
    arrivals = [(0.5, 3), (0.6, 1), (2.0, 7), (2.1, 1), (9.0, 2)]
    found = stretches(arrivals)
    assert found is not None
    assert found.n_answers == 14
    assert sum(seconds for _, seconds in found.stretches) == pytest.approx(9.0)


def test_the_most_answers_a_minute_win() -> None:
    slow, quick = outcome(100), outcome(120)
    assert fastest([slow, quick]) is quick


def test_of_settings_within_three_percent_the_one_with_less_memory_wins() -> None:
    quick, lean = outcome(100, 900), outcome(98, 300)
    assert fastest([quick, lean]) is lean
    assert fastest([quick, replace(lean, speed=outcome(96).speed)]) is quick
    # What nobody has measured is no small amount.
    assert fastest([outcome(98), quick]) is quick


def test_what_gives_something_up_failed_or_was_not_measured_is_not_chosen() -> None:
    plain = outcome(10)
    assert fastest([outcome(100, gives_up="a guarantee"), outcome(None), plain]) is plain
    assert fastest([outcome(100, gives_up="a guarantee"), outcome(None)]) is None


def test_a_setting_that_cuts_answers_off_is_not_chosen_unless_all_do() -> None:
    # 240 answers each: 48 of them are a fifth.
    hasty, whole = outcome(100, truncated=48), outcome(50, truncated=0)
    assert fastest([hasty, whole]) is whole
    assert fastest([hasty, replace(whole, n_truncated=48)]) is hasty


def test_those_that_cannot_be_told_from_the_fastest_are_measured_again() -> None:
    first, near, far = spread(1.0, 1.1, 1.2), spread(1.1, 1.2, 1.3), spread(5.0, 5.1, 5.2)
    assert finalists([far, near, first]) == [first, near]
    assert finalists([far, first]) == []
    assert finalists([]) == []


def test_a_second_measurement_is_added_to_the_first_and_a_failure_counts() -> None:
    one, other = outcome(60, 10, truncated=1), outcome(120, 20, truncated=2)
    both = other.joined(one)
    assert both.speed is not None
    assert both.speed.n_answers == 480
    assert both.n_truncated == 3
    assert both.peak_bytes == 20 << 20
    assert outcome(None).joined(one).status is Status.FAILED
    late = replace(outcome(None), status=Status.NOT_REACHED)
    assert late.joined(one) is one
