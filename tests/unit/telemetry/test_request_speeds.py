from typing import Any

import numpy as np
import pytest

from overnight.runs.request_speeds import decode_rate, prefill_rate, request_speeds


def row(number: int = 0, **changes: Any) -> dict[str, Any]:
    plain = {
        "custom_id": f"c{number}",
        "part": "p",
        "status": "ok",
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "cached_tokens": 20,
        "completion_tokens": 11,
        "latency_s": 2.0,
        "prefill_s": 0.5,
        "decode_s": 0.25,
        "at": "2026-01-02T03:04:05.000+00:00",
    }
    return plain | changes


def test_rates_are_the_tokens_that_were_worked_on_over_their_own_time() -> None:
    # 80 of 100 prompt tokens were evaluated in 0.5 s; the first of 11 tokens came out of that.
    assert prefill_rate(row()) == 160
    assert decode_rate(row()) == 40


@pytest.mark.parametrize(
    ("changes", "prefill", "decode"),
    [
        ({"prefill_s": None, "decode_s": None}, None, None),
        ({"prompt_tokens": None, "completion_tokens": None}, None, None),
        ({"prefill_s": 0.0, "decode_s": 0.0}, None, None),
        ({"cached_tokens": 99}, None, 40),  # one token alone: its time is that of a call
        ({"cached_tokens": None}, 200, 40),
        ({"completion_tokens": 1}, 160, None),  # there is no token after the first
    ],
)
def test_a_rate_that_the_engine_does_not_measure_is_empty(
    changes: dict[str, Any], prefill: float | None, decode: float | None
) -> None:
    assert (prefill_rate(row(**changes)), decode_rate(row(**changes))) == (prefill, decode)


def test_latencies_are_interpolated_as_numpy_does() -> None:
    latencies = [0.1, 0.5, 0.2, 4.0, 0.9, 0.3]
    found = request_speeds(row(n, latency_s=s) for n, s in enumerate(latencies)).latency_s
    assert found is not None
    assert (found.p50, found.p95, found.p99) == pytest.approx(tuple(np.percentile(latencies, [50, 95, 99])))
    assert (found.n, found.max) == (6, 4.0)


def test_finish_reasons_count_draws_by_how_they_ended_at_last() -> None:
    rows = [
        row(0, status="error", finish_reason="error", latency_s=None),
        row(1, status="error", finish_reason="error", latency_s=None),
        row(1, status="error", finish_reason="error", latency_s=None),
        row(2),
        row(3, finish_reason="length"),
        row(0),  # asked again, answered
        row(4, cached=True, latency_s=None),
    ]
    found = request_speeds(rows)
    assert found.finish_reasons == {"error": 1, "length": 1, "stop": 3}
    assert found.latency_s is not None
    assert found.latency_s.n == 3  # an answer from the cache took no time here


def test_an_engine_that_measures_nothing_leaves_everything_empty() -> None:
    found = request_speeds([row(prefill_s=None, decode_s=None, latency_s=None)])
    assert (found.latency_s, found.prefill_tokens_per_s, found.decode_tokens_per_s) == (None, None, None)
    assert request_speeds([]).finish_reasons == {}
