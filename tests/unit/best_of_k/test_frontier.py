from dataclasses import replace

import pytest

from overnight.best_of_k.frontier import Draw, DrawCosts, costs, frontier
from overnight.errors import UndefinedMetricError


def test_costs_of_shards_add_up_and_failed_draws_are_paid_for() -> None:
    draws = [Draw(n_tokens=10, seconds=0.5), Draw(n_tokens=20, seconds=1.5, is_usable=False)] * 3
    spent = costs(draws)
    assert spent == costs(draws[:1]) + costs(draws[1:])
    assert spent.tokens_per_usable_draw == 90 / 3
    assert spent.seconds_per_usable_draw == 6 / 3
    # Seconds of some draws only are not the seconds of all.
    assert (spent + costs([Draw(n_tokens=1)])).seconds_per_usable_draw is None
    with pytest.raises(UndefinedMetricError, match="none of 0 draws"):
        _ = DrawCosts().tokens_per_usable_draw
    with pytest.raises(ValueError, match="no less than 0"):
        costs([Draw(n_tokens=-1)])


def test_the_frontier_by_hand() -> None:
    # Cold: 20 tokens, .2 s a draw; warm: 40 tokens, .1 s.
    cold = DrawCosts(n_draws=10, n_usable=10, n_tokens=200, n_timed=10, seconds=2.0)
    warm = DrawCosts(n_draws=10, n_usable=10, n_tokens=400, n_timed=10, seconds=1.0)
    points = {
        (p.label, p.k): p
        for p in frontier(
            {"cold": (cold, {2: 0.5, 1: 0.4, 4: 0.5}), "warm": (warm, {1: 0.3, 2: 0.7, 4: None})}
        )
    }
    assert points["cold", 2].tokens_per_vector == 40
    assert points["cold", 2].seconds_per_vector == pytest.approx(0.4)
    assert points["cold", 2].recovery_per_1k_tokens == pytest.approx(0.5 / 40 * 1000)
    assert points["cold", 2].gained_per_1k_tokens == pytest.approx(0.1 / 20 * 1000)
    assert points["cold", 1].gained_per_1k_tokens is None
    assert points["cold", 4].gained_per_1k_tokens == 0.0
    assert {key for key, p in points.items() if p.is_efficient_in_tokens} == {
        ("cold", 1),
        ("cold", 2),
        ("warm", 2),
    }
    # In seconds: warm 1 (.1 s, .3), warm 2 (.2 s, .7) beats cold 1 (.2 s, .4) and the rest.
    assert {key for key, p in points.items() if p.is_efficient_in_seconds} == {("warm", 1), ("warm", 2)}
    assert points["warm", 4].recovery_per_1k_tokens is None
    assert points["warm", 4].is_efficient_in_tokens is False
    assert points["warm", 4].is_efficient_in_seconds is None
    untimed = frontier({"cold": (replace(cold, n_timed=9), {1: 0.4})})[0]
    assert (untimed.seconds_per_vector, untimed.is_efficient_in_seconds) == (None, None)
