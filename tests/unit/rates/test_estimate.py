import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from overnight.planning.estimate import Estimate, Measurement, estimate, estimate_load, total
from overnight.planning.work import Work, shared_bytes


def measured(**changes: Any) -> Measurement:
    plain: dict[str, Any] = {
        "n_requests": 100,
        "n_truncated": 0,
        "prompt_tokens": 20_000,
        "evaluated_tokens": 5_000,
        "completion_tokens": 1_000,
        "prompt_bytes": 80_000,
        "new_bytes": 20_000,
        "limit_tokens": 4_800,
        "inference_s": 50.0,
        "load_s": 2.0,
    }
    return Measurement(**(plain | changes))


def like(m: Measurement, times: int = 1) -> Work:
    return Work(
        n_requests=times * m.n_requests,
        prompt_bytes=times * m.prompt_bytes,
        new_bytes=times * m.new_bytes,
        limit_tokens=times * m.limit_tokens,
    )


def test_without_a_measurement_nothing_is_said_but_how_to_get_one() -> None:
    assert estimate(like(measured()), [], unknown="run it once") == Estimate(undefined_because="run it once")


def test_one_stretch_takes_as_long_a_request_as_it_did_with_an_interval_of_half_to_double() -> None:
    found = estimate(like(measured(), 3), [measured()], unknown="")
    assert (found.seconds, found.low_s, found.high_s) == (150.0, 75.0, 300.0)
    assert (found.prompt_tokens, found.completion_tokens) == (60_000, 3_000)
    assert found.n_measurements == 1


def engine(evaluated: int, completion: int, *, factor: float = 1.0) -> Measurement:
    """A machine that evaluates 1,000 and writes 50 tokens a second."""
    return measured(
        evaluated_tokens=evaluated,
        new_bytes=4 * evaluated,
        completion_tokens=completion,
        inference_s=factor * (evaluated / 1000 + completion / 50),
    )


def test_three_stretches_give_back_the_two_rates_that_made_them() -> None:
    past = [engine(1000, 500), engine(8000, 500), engine(2000, 3000)]
    work = Work(n_requests=100, prompt_bytes=40_000, new_bytes=40_000, limit_tokens=4_800)
    # 40,000 bytes are 10,000 evaluated tokens; a completion keeps its mean of 4000 / 300 tokens.
    expected = 10_000 / 1000 + 100 * (4000 / 300) / 50
    assert estimate(work, past, unknown="").seconds == pytest.approx(expected, abs=1e-3)


def test_the_interval_is_that_of_one_further_value_of_a_normal_sample_of_log_errors() -> None:
    # Two stretches that differ by a factor of e^.4 in seconds a request: each predicts the other wrong by .4,
    # so that s = .4, and the interval is exp(t(.95; 1) x .4 x sqrt(3/2)).
    past = [measured(inference_s=50.0), measured(inference_s=50.0 * math.exp(0.4))]
    found = estimate(like(measured()), past, unknown="")
    factor = math.exp(t.ppf(0.95, 1) * 0.4 * math.sqrt(1.5))
    assert found.seconds is not None
    assert found.high_s == pytest.approx(found.seconds * factor, rel=1e-4)
    assert found.low_s == pytest.approx(found.seconds / factor, abs=1e-3)


def test_equal_stretches_still_leave_an_interval() -> None:
    found = estimate(like(measured()), [measured()] * 5, unknown="")
    assert found.seconds == pytest.approx(50.0)
    assert found.low_s is not None
    assert found.high_s is not None
    assert found.low_s < 50.0 < found.high_s


def test_completions_that_end_by_themselves_do_not_grow_with_the_limit() -> None:
    longer = Work(n_requests=100, prompt_bytes=80_000, new_bytes=20_000, limit_tokens=48_000)
    ended, cut = measured(n_truncated=0), measured(n_truncated=90)
    assert estimate(longer, [ended], unknown="").completion_tokens == 1_000
    assert estimate(longer, [cut], unknown="").completion_tokens == 10_000


def test_a_lower_limit_shortens_completions() -> None:
    shorter = Work(n_requests=100, prompt_bytes=80_000, new_bytes=20_000, limit_tokens=480)
    assert estimate(shorter, [measured()], unknown="").completion_tokens == 100


def test_nothing_to_ask_takes_no_time_however_little_is_known() -> None:
    nothing = Work(n_requests=0, n_shared=9, prompt_bytes=0, new_bytes=0, limit_tokens=0)
    assert estimate(nothing, [], unknown="never measured").seconds == 0.0


def test_a_sum_is_unknown_where_a_part_is() -> None:
    known = estimate(like(measured()), [measured()], unknown="")
    assert total([known, Estimate(undefined_because="model b")]).undefined_because == "model b"
    both = total([known, known], load_s=2.0)
    assert (both.seconds, both.low_s, both.high_s, both.prompt_tokens) == (102.0, 52.0, 202.0, 40_000)


def test_loading_takes_the_mean_of_what_it_took() -> None:
    assert estimate_load([measured(load_s=1.0), measured(load_s=3.0), measured(load_s=None)]) == 2.0
    assert estimate_load([measured(load_s=None)]) is None


@given(
    st.lists(
        st.builds(
            measured,
            n_requests=st.integers(1, 10**5),
            evaluated_tokens=st.integers(0, 10**7),
            completion_tokens=st.integers(0, 10**7),
            new_bytes=st.integers(0, 10**8),
            inference_s=st.floats(0.01, 10**5),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 10**5),
)
def test_an_estimate_is_finite_and_inside_its_interval(past: list[Measurement], n: int) -> None:
    work = Work(n_requests=n, prompt_bytes=n * 900, new_bytes=n * 300, limit_tokens=n * 48)
    found = estimate(work, past, unknown="")
    assert found.seconds is not None
    assert found.low_s is not None
    assert found.high_s is not None
    assert 0 <= found.low_s <= found.seconds <= found.high_s
    assert math.isfinite(found.high_s)


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30))
def test_the_common_beginning_of_two_texts_is_found(head: bytes, one: bytes, two: bytes) -> None:
    first, second = head + one, head + two
    n = shared_bytes(first, second)
    assert n >= len(head)
    assert first[:n] == second[:n]
    assert n == min(len(first), len(second)) or first[n] != second[n]
