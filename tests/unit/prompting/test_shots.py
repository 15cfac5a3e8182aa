import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.errors import ContextOverflow, UsageError
from overnight.prompting.asking import Asking, prefix, prompt
from overnight.prompting.shots import draw_shots, fit_shots
from overnight.records import Item, ItemType


def item(number: int, *, question: str | None = None, answers: tuple[str, ...] = ("gold",)) -> Item:
    return Item(
        dataset="d",
        item_id=str(number),
        type=ItemType.CLOSED,
        question=question or f"question {number}?",
        answers=answers,
    )


POOL = [item(n) for n in range(40)]


@given(seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_shots_do_not_depend_on_the_order_of_the_file(seed: int, order: random.Random) -> None:
    shuffled = POOL[:]
    order.shuffle(shuffled)
    assert draw_shots(shuffled, 5, seed) == draw_shots(POOL, 5, seed)


def test_fewer_shots_are_the_first_of_more() -> None:
    assert draw_shots(POOL, 3, 10) == draw_shots(POOL, 8, 10)[:3]


def test_every_item_is_drawn_about_as_often_as_any_other() -> None:
    # 2000 draws of 5 of 40: an item is expected in 250 of them, with a standard deviation of 15.
    counts = dict.fromkeys((one.key for one in POOL), 0)
    for seed in range(2000):
        for shot in draw_shots(POOL, 5, seed):
            counts[shot.key] += 1
    assert all(abs(count - 250) < 5 * 15 for count in counts.values())


def test_an_unanswerable_item_is_never_a_shot() -> None:
    pool = [item(n, answers=() if n % 2 else ("gold",)) for n in range(10)]
    assert all(shot.answers for shot in draw_shots(pool, 5, 1))
    with pytest.raises(UsageError, match="6 are wanted, and 5 of the 10 items"):
        draw_shots(pool, 6, 1)


def test_an_item_that_is_asked_is_never_a_shot_even_under_another_id() -> None:
    asked = [*POOL[:30], item(99, question="Question  31?")]
    shots = draw_shots(POOL, 9, 1, asked)
    assert {shot.key for shot in shots} == {one.key for one in POOL[30:]} - {POOL[31].key}
    with pytest.raises(UsageError, match="10 are wanted, and 9 of the 40 items"):
        draw_shots(POOL, 10, 1, asked)


def test_no_two_shots_ask_the_same() -> None:
    pool = [item(n, question=f"question {n % 4}?") for n in range(12)]
    shots = draw_shots(pool, 4, 7)
    assert len({shot.question for shot in shots}) == 4
    with pytest.raises(UsageError, match="5 are wanted, and 4 of the 12 items"):
        draw_shots(pool, 5, 7)


def test_no_shots_need_no_pool() -> None:
    assert draw_shots([], 0, 1) == ()


SHOTS = POOL[:4]
ASKED = item(50)


@given(limit=st.integers(0, 600))
def test_whole_shots_are_dropped_from_the_last_until_the_prompt_fits(limit: int) -> None:
    # A letter is a token here, so what fits can be said by hand: the longest prompt that is not too long.
    asking = Asking(shots=4)
    lengths = [len(prompt(ASKED, SHOTS[:n], asking)[0]["content"]) for n in range(5)]
    fitting = [n for n, length in enumerate(lengths) if length <= limit]
    if not fitting:
        with pytest.raises(ContextOverflow, match=f"{lengths[0]} tokens without any shot.*room for {limit}"):
            fit_shots(ASKED, SHOTS, asking, len, limit)
        return
    fitted = fit_shots(ASKED, SHOTS, asking, len, limit)
    assert fitted.n_shots == max(fitting)
    assert fitted.n_dropped == 4 - max(fitting)
    assert fitted.messages == prompt(ASKED, SHOTS[: max(fitting)], asking)
    assert fitted.n_tokens == lengths[max(fitting)]
    # The instruction and the question are there whole, however little room there is.
    content = fitted.messages[0]["content"]
    assert content.startswith(prefix([], asking))
    assert content.endswith("Question: question 50?\nAnswer:")
