"""Which draws are asked again: as many as were asked for, and the same ones whatever the order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from overnight.invariance.choosing import chosen, n_chosen
from overnight.spec.audit import AuditSettings

DRAWS = st.lists(st.text(max_size=8), unique=True, max_size=60)


@pytest.mark.parametrize(
    ("n", "share", "at_least", "at_most", "expected"),
    [
        (1000, 0.02, 8, 200, 20),
        (1001, 0.02, 8, 200, 21),  # a share is rounded up
        (100, 0.02, 8, 200, 8),
        (5, 0.02, 8, 200, 5),  # no draw is asked again twice
        (100_000, 0.02, 8, 200, 200),
        (100, 0, 8, 200, 0),  # off is off, whatever the least is
        (0, 0.02, 8, 200, 0),
    ],
)
def test_the_share_holds_within_its_limits(n, share, at_least, at_most, expected) -> None:
    assert n_chosen(n, AuditSettings(share=share, at_least=at_least, at_most=at_most)) == expected


@given(DRAWS, st.randoms(), st.integers(0, 2**31))
def test_the_choice_does_not_depend_on_the_order(draws, random, seed) -> None:
    # The journal's order is that in which answers arrived, which is another one every night.
    settings = AuditSettings(share=0.3, at_least=2, at_most=9)
    first, n = chosen(draws, settings, seed)
    shuffled = random.sample(draws, len(draws))
    assert (first, n) == chosen(shuffled, settings, seed)
    assert len(first) == len(set(first)) == n_chosen(len(draws), settings)
    assert set(first) <= set(draws)


@given(DRAWS, DRAWS)
def test_more_draws_push_none_out_below_the_limit(draws, more) -> None:
    # A trial that goes on keeps what it has audited: of all draws, each is chosen by its own rank.
    settings = AuditSettings(share=1, at_least=0, at_most=1000)
    grown = list(dict.fromkeys(draws + more))
    assert set(chosen(draws, settings, 1)[0]) <= set(chosen(grown, settings, 1)[0])


def test_each_draw_is_as_likely_as_any_other() -> None:
    # 2000 seeds, 1 of 4 draws each: 500 expected, and 6 standard deviations (sqrt(2000 * 1/4 * 3/4) = 19.4) are 116.
    settings = AuditSettings(share=0.25, at_least=0, at_most=200)
    picked = [chosen("abcd", settings, seed)[0][0] for seed in range(2000)]
    assert all(abs(picked.count(draw) - 500) < 116 for draw in "abcd")


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="at_least 8 is above at_most 4"):
        AuditSettings(at_least=8, at_most=4)
