"""Positions are those of the text: what else is asked for, and of which other texts, moves none of them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.best_of_k.positions import positions_of, why_none
from overnight.ids import text_digest
from overnight.spec.positions import VectorPositions

TEXTS = st.text(max_size=8).map(text_digest)
N_TOKENS = st.integers(0, 300)
FIRST = st.integers(0, 3)


@given(
    text=TEXTS,
    n=N_TOKENS,
    first=FIRST,
    min_pos=st.integers(0, 20),
    seed=st.integers(0, 9),
    few=st.integers(1, 40),
)
def test_fewer_positions_are_the_first_of_more(
    text: str, n: int, first: int, min_pos: int, seed: int, few: int
) -> None:
    rule = VectorPositions(per_sequence=few, min_pos=min_pos, seed=seed)
    more = positions_of(rule.model_copy(update={"per_sequence": 40}), n, first, text)
    assert positions_of(rule, n, first, text) == more[:few]


@given(
    text=TEXTS,
    n=N_TOKENS,
    first=FIRST,
    min_pos=st.integers(0, 20),
    policy=st.sampled_from(["random", "midpoint", "last"]),
    wanted=st.integers(1, 400),
)
def test_positions_are_distinct_tokens_from_the_first_that_may_be_taken_on(
    text: str, n: int, first: int, min_pos: int, policy: str, wanted: int
) -> None:
    rule = VectorPositions(policy=policy, per_sequence=wanted, min_pos=min_pos)
    found = positions_of(rule, n, first, text)
    n_takable = max(0, n - first - min_pos)
    assert len(set(found)) == len(found) == min(n_takable, wanted if policy == "random" else 1)
    assert all(first + min_pos <= place < n for place in found)


def test_all_that_may_be_taken_is_a_permutation() -> None:
    rule = VectorPositions(per_sequence=4096)
    assert sorted(positions_of(rule, 30, 1, text_digest("a"))) == list(range(6, 30))


def test_each_step_is_uniform() -> None:
    # 4000 texts, 8 places: a share of 1/8 has a standard error of 0.0052; five of them are allowed.
    rule = VectorPositions(per_sequence=8, min_pos=2)
    found = [positions_of(rule, 10, 0, text_digest(str(number))) for number in range(4000)]
    for step in (0, 1, 7):
        shares = Counter(each[step] for each in found)
        assert all(abs(shares[place] / 4000 - 1 / 8) < 0.026 for place in range(2, 10))


def test_another_seed_or_text_has_other_positions() -> None:
    rule = VectorPositions(per_sequence=5)
    one = positions_of(rule, 500, 0, text_digest("a"))
    assert one != positions_of(rule, 500, 0, text_digest("b"))
    assert one != positions_of(rule.model_copy(update={"seed": 7}), 500, 0, text_digest("a"))


@pytest.mark.parametrize(
    ("n", "first", "place"), [(11, 0, 5), (12, 0, 5), (101, 1, 50), (8, 0, 5), (6, 0, 5)]
)
def test_the_midpoint_is_in_the_middle_and_never_before_the_first_that_may_be_taken(
    n: int, first: int, place: int
) -> None:
    assert positions_of(VectorPositions(policy="midpoint"), n, first, "") == (place,)


def test_a_text_that_is_too_short_is_said_to_be() -> None:
    rule = VectorPositions(policy="last")
    assert positions_of(rule, 6, 1, "") == ()
    assert why_none(rule, 6, 1) == "it has 5 tokens, and 5 come before the first that may be taken"
    assert positions_of(rule, 7, 1, "") == (6,)
