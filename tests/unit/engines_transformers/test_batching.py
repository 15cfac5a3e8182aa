"""Which requests are computed together: by their lengths, within a budget of tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.engines.transformers.batching import Size, choose_batch, halves, padded_tokens

SIZES = st.lists(st.builds(Size, st.integers(1, 300), st.integers(1, 64)), min_size=1, max_size=24)


def test_the_budget_is_of_padded_tokens_and_not_of_rows() -> None:
    # A row of 90 + 10 tokens takes 100: ten of them are a budget of 1000, and a hundred rows of 5 + 5 are as well.
    assert len(choose_batch([Size(90, 10)] * 50, 1000)) == 10
    assert len(choose_batch([Size(5, 5)] * 500, 1000)) == 100


def test_the_longest_answer_counts_for_every_row() -> None:
    # With the second, two rows of 10 + 90 are 200 tokens; without it, two of 10 + 10 are 40.
    assert choose_batch([Size(10, 10), Size(10, 90), Size(10, 10)], 60) == [0]
    assert sorted(choose_batch([Size(10, 10), Size(10, 10), Size(10, 90)], 60)) == [0, 1]


def test_a_long_prompt_does_not_make_short_ones_wait_for_it() -> None:
    # 4 rows of 10 tokens beside one of 400 would be 1560 tokens of padding to 440 real ones.
    assert sorted(choose_batch([Size(10, 5)] * 4 + [Size(400, 5)], 100_000)) == [0, 1, 2, 3]


def test_whoever_waits_longest_is_computed_next() -> None:
    # Twenty short prompts would be the larger batch; the long one came first.
    assert choose_batch([Size(400, 5)] + [Size(10, 5)] * 20, 100_000) == [0]


def test_a_request_that_is_larger_than_the_budget_is_tried_alone() -> None:
    assert choose_batch([Size(500, 5), Size(500, 5)], 100) == [0]


@given(SIZES, st.integers(1, 3000), st.integers(1, 30) | st.none())
def test_every_batch_keeps_the_budget_and_the_number_of_rows_and_has_the_oldest(sizes, budget, rows) -> None:
    batch = choose_batch(sizes, budget, rows)
    assert 0 in batch
    assert len(set(batch)) == len(batch) <= (rows or len(sizes))
    chosen = [sizes[place] for place in batch]
    assert len(batch) == 1 or padded_tokens(chosen) <= budget
    prompts = [size.prompt for size in chosen]
    assert len(batch) * max(prompts) - sum(prompts) <= sum(prompts) / 2


@given(SIZES, st.integers(1, 3000))
def test_all_requests_are_computed_once(sizes, budget) -> None:
    waiting = list(enumerate(sizes))
    computed = []
    while waiting:
        batch = set(choose_batch([size for _, size in waiting], budget))
        computed += [name for place, (name, _) in enumerate(waiting) if place in batch]
        waiting = [entry for place, entry in enumerate(waiting) if place not in batch]
    assert sorted(computed) == list(range(len(sizes)))


def test_no_requests_are_no_batch() -> None:
    assert choose_batch([], 100) == []


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_halves_hold_everything_once_and_differ_by_one_at_most(n) -> None:
    first, second = halves(range(n))
    assert first + second == list(range(n))
    assert 0 <= len(first) - len(second) <= 1
