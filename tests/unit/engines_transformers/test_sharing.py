"""Which prompts of a batch are evaluated together."""

from hypothesis import given
from hypothesis import strategies as st

from overnight.engines.transformers.sharing import (
    FORWARD_TOKENS,
    SHORTEST_PREFIX,
    Family,
    common_length,
    families,
    of_one_length,
)

CONTROL, TREATMENT = tuple(range(100)), tuple(range(500, 600))


def test_prompts_of_two_arms_in_one_batch_are_two_families_with_a_beginning_each() -> None:
    # Of all four together nothing is shared: 4 x 102 tokens. Of each arm 100 are: 2 x (100 + 2 x 2).
    prompts = [(*CONTROL, 1, 2), (*TREATMENT, 1, 2), (*CONTROL, 3, 4), (*TREATMENT, 3, 4)]
    assert sorted(families(prompts), key=lambda family: family.places) == [
        Family((0, 2), 100),
        Family((1, 3), 100),
    ]


def test_a_stranger_does_not_take_the_beginning_from_the_others() -> None:
    prompts = [(7,) * 40, *((*CONTROL, n, n) for n in range(5))]
    assert Family((1, 2, 3, 4, 5), 100) in families(prompts)


def test_another_pass_has_to_save_more_than_it_costs() -> None:
    # Sharing 20 more of a second family of two saves 20 tokens, and a pass costs 64.
    begin = tuple(range(900, 920))
    prompts = [(*begin, *CONTROL[:20], n) for n in (1, 2)] + [(*begin, *TREATMENT[:20], n) for n in (1, 2)]
    assert families(prompts) == [Family((0, 1, 2, 3), 20)]


def test_draws_of_one_prompt_leave_its_last_token_to_each() -> None:
    assert families([CONTROL, CONTROL]) == [Family((0, 1), 99)]


@given(
    st.lists(
        st.builds(
            lambda arm, rest: (*arm, *rest),
            st.sampled_from([(), CONTROL, CONTROL[:30], TREATMENT]),
            st.lists(st.integers(0, 2), min_size=1, max_size=20),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_families_hold_every_prompt_once_share_what_is_common_and_cost_no_more_than_one(prompts) -> None:
    found = families(prompts)
    assert sorted(place for family in found for place in family.places) == list(range(len(prompts)))
    cost = 0
    for family in found:
        members = [prompts[place] for place in family.places]
        assert family.n_shared == 0 or SHORTEST_PREFIX <= family.n_shared < min(map(len, members))
        assert all(common_length(members[0], other) >= family.n_shared for other in members)
        cost += FORWARD_TOKENS + family.n_shared + sum(len(member) - family.n_shared for member in members)
    assert cost <= FORWARD_TOKENS + sum(map(len, prompts))


def test_long_rests_are_not_padded_to_by_short_ones() -> None:
    lengths = [20, 200] * 20
    assert of_one_length(range(40), lengths) == [list(range(0, 40, 2)), list(range(1, 40, 2))]


def test_a_pass_of_few_tokens_is_not_worth_being_one() -> None:
    assert of_one_length([4, 7, 9], [3, 20, 11]) == [[4, 9, 7]]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_passes_hold_everything_once_and_each_but_the_last_is_worth_it(lengths) -> None:
    # 60 rows of 300 tokens are more than one pass takes.
    passes = of_one_length(range(len(lengths)), lengths)
    assert sorted(place for one in passes for place in one) == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in one) >= 256 for one in passes[:-1])
    assert all(len(one) * max(lengths[place] for place in one) <= 8192 for one in passes)


def test_a_prompt_that_is_longer_than_a_pass_is_one_of_its_own() -> None:
    assert of_one_length([0, 1, 2], [9000, 40, 9000]) == [[1], [0], [2]]
