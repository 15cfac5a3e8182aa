import pytest

from overnight.conformance.aligning import Answer
from overnight.conformance.comparing import Agreement, compare
from overnight.conformance.tolerance import Tolerance
from overnight.engines.choices import Choice

NARROW = Tolerance(name="narrow", token=0.1, mean=0.01, contains="nothing")
PIECES = {1: b"one", 2: b" two", 3: b" three", 4: b" four", 0: b""}


def choice(token_id: int, *others: tuple[int, float], logprob: float = -0.5) -> Choice:
    """Return a token that was chosen, and others with how much less likely (nats) they were."""
    best = ((token_id, logprob), *((other, logprob - gap) for other, gap in others))
    return Choice(token_id=token_id, piece=PIECES[token_id], best=best)


def answer(*choices: Choice, prompt_tokens: int | None = 9, **changes) -> Answer:
    fields = {
        "prompt_tokens": prompt_tokens,
        "text": b"".join(each.piece for each in choices).decode(),
        "finish_reason": "length",
        "token_logprobs": tuple(each.best[0][1] for each in choices),
        "choices": choices,
    }
    return Answer(**(fields | changes))


def test_equal_answers_agree_and_their_g_nll_differs_by_nothing() -> None:
    same = answer(choice(1), choice(2))
    found = compare("p", same, same)
    assert (found.n_common, found.parting, found.g_nll_difference_per_token) == (2, None, 0)
    assert found.problems(NARROW) == ()


def test_g_nll_difference_per_token_is_the_mean_over_the_common_tokens_with_its_sign() -> None:
    # G-NLL is minus the sum of log-probabilities: (0.5 + 0.7) - (0.5 + 0.6) = 0.1, of two tokens 0.05.
    first = answer(choice(1, logprob=-0.5), choice(2, logprob=-0.7), choice(3, (4, 0.01)))
    second = answer(choice(1, logprob=-0.5), choice(2, logprob=-0.6), choice(4, (3, 0.01)))
    found = compare("p", first, second)
    assert found.n_common == 2
    assert found.g_nll_difference_per_token == pytest.approx(0.05)
    assert found.largest == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("gap_of_first", "gap_of_second", "is_tie"),
    [(0.0, 0.0, True), (0.1, 0.09, True), (0.11, 0.0, False), (0.0, 0.11, False)],
)
def test_a_parting_is_a_tie_only_where_both_engines_find_both_tokens_as_likely(
    gap_of_first, gap_of_second, is_tie
) -> None:
    # Binary fractions would be exact; the gaps here are of a token of log-probability 0, so that they are as written.
    first = answer(choice(1), choice(3, (4, gap_of_first), logprob=0.0))
    second = answer(choice(1), choice(4, (3, gap_of_second), logprob=0.0))
    found = compare("p", first, second)
    assert found.parting.place == 1
    assert found.parting.gaps == (gap_of_first, gap_of_second)
    assert found.parting.is_tie(NARROW) is is_tie
    assert bool(found.problems(NARROW)) is not is_tie


def test_a_token_that_the_other_engine_does_not_even_list_is_no_tie() -> None:
    found = compare("p", answer(choice(3, (4, 0.01))), answer(choice(4, (2, 0.01))))
    assert found.parting.gaps == (pytest.approx(0.01), None)
    assert not found.parting.is_tie(NARROW)


def test_what_comes_after_the_parting_is_not_compared() -> None:
    # The engines answer other questions there, and may be as far apart as they like.
    first = answer(choice(1), choice(3, (4, 0.0)), choice(1, logprob=-9.0))
    second = answer(choice(1), choice(4, (3, 0.0)), choice(1, logprob=-0.1))
    found = compare("p", first, second)
    assert found.differences == (0.0,)
    assert found.problems(NARROW) == ()


def test_a_prompt_that_is_cut_into_other_tokens_is_no_agreement_even_with_equal_answers() -> None:
    found = compare("p", answer(choice(1), prompt_tokens=9), answer(choice(1), prompt_tokens=10))
    assert found.problems(NARROW) == ("the prompt has 9 tokens for one and 10 for the other",)
    assert compare("p", answer(choice(1), prompt_tokens=None), answer(choice(1))).has_same_count


def test_few_tokens_are_held_to_the_bound_of_one_and_many_to_that_of_the_mean() -> None:
    def apart(n_tokens: int, by: float):
        first = answer(*(choice(1, logprob=-0.5) for _ in range(n_tokens)))
        second = answer(*(choice(1, logprob=-0.5 - by) for _ in range(n_tokens)))
        return compare("p", first, second).problems(NARROW)

    assert apart(7, 0.05) == ()
    assert apart(8, 0.05) == ("G-NLL differs by 0.0500 nats a token, 0.01 are allowed",)
    assert apart(8, 0.009) == ()
    assert apart(1, 0.2) == (
        "G-NLL differs by 0.2000 nats a token, 0.1 are allowed",
        "a token differs by 0.2000 nats, 0.1 are allowed",
    )


def test_errors_that_cancel_out_in_the_mean_are_seen_in_the_token() -> None:
    first = answer(*(choice(1, logprob=-1.0) for _ in range(10)))
    second = answer(*(choice(1, logprob=-1.0 + sign * 0.3) for sign in (1, -1) * 5))
    assert compare("p", first, second).problems(NARROW) == (
        "a token differs by 0.3000 nats, 0.1 are allowed",
    )


def test_the_token_that_ends_an_answer_may_be_missing_in_one() -> None:
    first = answer(choice(1), choice(2), choice(0), finish_reason="stop")
    second = answer(choice(1), choice(2), finish_reason="stop")
    found = compare("p", first, second)
    assert (found.parting, found.n_common) == (None, 2)


def test_an_answer_that_ends_where_the_other_goes_on_parts_there() -> None:
    found = compare(
        "p",
        answer(choice(1), choice(0, (2, 0.02)), finish_reason="stop"),
        answer(choice(1), choice(2, (0, 0.03))),
    )
    assert (found.parting.place, found.parting.is_tie(NARROW)) == (1, True)


def test_equal_texts_of_other_tokens_are_a_parting() -> None:
    whole = Choice(token_id=7, piece=b"one two", best=((7, -0.5), (1, -2.0)))
    found = compare("p", answer(whole), answer(choice(1, (7, 3.0)), choice(2)))
    assert found.parting.place == 0
    assert found.parting.gaps == (pytest.approx(1.5), pytest.approx(3.0))


def test_an_engine_that_shows_no_ids_is_compared_by_its_text() -> None:
    # Its second token began with " three"; the other engine had " two" there, and something else almost as likely.
    served = Answer(
        prompt_tokens=9, text="one three", finish_reason="length", token_logprobs=(-0.5, -0.6), choices=None
    )
    ours = answer(choice(1), choice(2, (3, 0.04)))
    for found in (compare("p", served, ours), compare("p", ours, served)):
        assert found.n_common == 1
        assert found.parting.place == 1
        assert found.parting.gaps == (pytest.approx(0.04),)
        assert found.parting.is_tie(NARROW)


def test_an_engine_without_log_probabilities_has_not_been_shown_to_agree() -> None:
    silent = answer(choice(1), token_logprobs=None, choices=None)
    found = compare("p", silent, answer(choice(1)))
    assert found.g_nll_difference_per_token is None
    assert found.problems(NARROW) == ("an engine gives no log-probabilities",)


def test_the_verdict_is_over_all_prompts_and_names_the_worst() -> None:
    near = compare("near", answer(choice(1, logprob=-0.5)), answer(choice(1, logprob=-0.53)))
    same = compare("same", answer(choice(1)), answer(choice(1)))
    tie = compare("tie", answer(choice(3, (4, 0.0))), answer(choice(4, (3, 0.0))))
    found = Agreement(compared=(same, near, tie), tolerance=NARROW)
    assert found.agrees
    assert (found.n_identical, found.n_ties, found.n_tokens, found.n_same_count) == (2, 1, 2, 3)
    assert found.worst.prompt == "near"
    assert found.largest == pytest.approx(0.03)
    assert found.mean_absolute == pytest.approx(0.015)

    far = compare("far", answer(choice(1, logprob=-0.5)), answer(choice(1, logprob=-0.9)))
    broken = Agreement(compared=(same, far), tolerance=NARROW)
    assert not broken.agrees
    assert list(broken.problems) == ["far"]


def test_nothing_compared_is_no_agreement() -> None:
    found = Agreement(compared=(), tolerance=NARROW)
    assert not found.agrees
    assert (found.worst, found.largest, found.mean_absolute) == (None, None, None)


def test_tokens_inside_a_character_are_left_out_where_one_engine_leaves_them_out() -> None:
    # llama.cpp lists no token behind which the text is no whole UTF-8; "é" may be two tokens, and then it lists one.
    inside = Choice(token_id=5, piece=None, best=((5, -0.7), (1, -0.9)), is_whole=False)
    rest = Choice(token_id=6, piece=None, best=((6, -0.2), (1, -9.0)))
    logprobs = {"first": (-0.5, -0.2, -0.5), "second": (-0.5, -0.7, -0.2, -0.5)}
    first = Answer(
        prompt_tokens=9, text="oneé four", finish_reason="length", token_logprobs=logprobs["first"],
        choices=(choice(1), rest, choice(4)),
    )  # fmt: skip
    second = Answer(
        prompt_tokens=9, text="oneé four", finish_reason="length", token_logprobs=logprobs["second"],
        choices=(choice(1), inside, rest, choice(4)),
    )  # fmt: skip
    found = compare("p", first, second)
    assert (found.n_common, found.differences, found.parting) == (3, (0.0, 0.0, 0.0), None)

    # Where they part inside the character, what is known is by how much the listed one led there.
    other = Answer(
        prompt_tokens=9, text="one two", finish_reason="length", token_logprobs=(-0.5, -0.5),
        choices=(choice(1), choice(2)),
    )  # fmt: skip
    assert compare("p", other, second).parting.gaps == (pytest.approx(0.2),)


def test_by_text_alone_nothing_is_compared_from_the_first_character_that_may_take_several_tokens() -> None:
    cafe = Choice(token_id=8, piece="é".encode(), best=((8, -0.4), (1, -3.0)))
    ours = Answer(
        prompt_tokens=9,
        text="oneé",
        finish_reason="stop",
        token_logprobs=(-0.5, -0.4),
        choices=(choice(1), cafe),
    )
    served = Answer(
        prompt_tokens=9, text="oneé", finish_reason="stop", token_logprobs=(-0.5, -0.1, -0.3), choices=None
    )
    found = compare("p", served, ours)
    assert (found.n_common, found.differences, found.parting) == (1, (0.0,), None)
