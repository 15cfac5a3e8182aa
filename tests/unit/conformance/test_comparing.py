import math
from dataclasses import replace

import pytest

from overnight.conformance.comparing import Agreement, compare
from overnight.conformance.tolerance import Tolerance
from overnight.engines.protocol import Completion, Step, Token
from overnight.records import FinishReason

NARROW = Tolerance(name="narrow", odds=0.2, mean=0.01, contains="nothing")
END = "\x00"  # the token that ends an answer


def token(text: str | bytes, logprob: float) -> Token:
    ends = text == END
    piece = text if isinstance(text, bytes) else text.encode()
    return Token(piece=b"" if ends else piece, logprob=logprob, ends=ends)


def step(text: str | bytes, *others: tuple[str | bytes, float], logprob: float = -0.5) -> Step:
    """Return a token that was taken, and others with how much less likely (nats) they were."""
    taken = token(text, logprob)
    return Step(taken=taken, likeliest=(taken, *(token(other, logprob - gap) for other, gap in others)))


def answer(*steps: Step, prompt_tokens: int | None = 9, finish: str = "length") -> Completion:
    return Completion(
        text=b"".join(each.taken.piece for each in steps).decode("utf-8", "replace"),
        finish_reason=FinishReason(finish),
        prompt_tokens=prompt_tokens,
        cached_tokens=None,
        completion_tokens=len(steps),
        token_logprobs=tuple(each.taken.logprob for each in steps),
        latency_s=0.1,
        sent={},
        steps=steps,
    )


def test_equal_answers_agree_and_their_g_nll_differs_by_nothing() -> None:
    same = answer(step("one"), step(" two"))
    found = compare("p", same, same)
    assert (found.n_common, found.parting, found.g_nll_difference_per_token) == (2, None, 0)
    assert found.problems(NARROW) == ()


def test_g_nll_difference_per_token_is_the_mean_over_the_common_tokens_with_its_sign() -> None:
    # G-NLL is minus the sum of log-probabilities: (0.5 + 0.7) - (0.5 + 0.6) = 0.1, of two tokens 0.05.
    first = answer(step("one", logprob=-0.5), step(" two", logprob=-0.7), step(" three", (" four", 0.01)))
    second = answer(step("one", logprob=-0.5), step(" two", logprob=-0.6), step(" four", (" three", 0.01)))
    found = compare("p", first, second)
    assert found.n_common == 2
    assert found.g_nll_difference_per_token == pytest.approx(0.05)
    assert found.largest == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("gap_of_first", "gap_of_second", "is_tie"),
    [(0.0, 0.0, True), (0.2, 0.19, True), (0.21, 0.0, False), (0.0, 0.21, False)],
)
def test_a_parting_is_a_tie_only_where_both_engines_find_both_tokens_as_likely(
    gap_of_first, gap_of_second, is_tie
) -> None:
    # Binary fractions would be exact; the gaps here are of a token of log-probability 0, so that they are as written.
    first = answer(step("one"), step(" three", (" four", gap_of_first), logprob=0.0))
    second = answer(step("one"), step(" four", (" three", gap_of_second), logprob=0.0))
    found = compare("p", first, second)
    assert found.parting.place == 1
    assert found.parting.gaps == (gap_of_first, gap_of_second)
    assert found.parting.is_tie(NARROW) is is_tie
    assert bool(found.problems(NARROW)) is not is_tie


def test_a_token_that_the_other_engine_does_not_even_list_is_no_tie() -> None:
    found = compare("p", answer(step(" three", (" four", 0.01))), answer(step(" four", (" two", 0.01))))
    assert found.parting.gaps == (pytest.approx(0.01), None)
    assert not found.parting.is_tie(NARROW)


def test_what_comes_after_the_parting_is_not_compared() -> None:
    # The engines answer other questions there, and may be as far apart as they like.
    first = answer(step("one"), step(" three", (" four", 0.0)), step("one", logprob=-9.0))
    second = answer(step("one"), step(" four", (" three", 0.0)), step("one", logprob=-0.1))
    found = compare("p", first, second)
    assert found.differences == (0.0,)
    assert found.problems(NARROW) == ()


def test_a_prompt_that_is_cut_into_other_tokens_is_no_agreement_even_with_equal_answers() -> None:
    found = compare("p", answer(step("one"), prompt_tokens=9), answer(step("one"), prompt_tokens=10))
    assert found.problems(NARROW) == ("the prompt has 9 tokens for one and 10 for the other",)
    assert compare("p", answer(step("one"), prompt_tokens=None), answer(step("one"))).has_same_count


def apart(n_tokens: int, by: float, logprob: float = -0.5) -> tuple[str, ...]:
    first = answer(*(step("one", logprob=logprob) for _ in range(n_tokens)))
    second = answer(*(step("one", logprob=logprob - by) for _ in range(n_tokens)))
    return compare("p", first, second).problems(NARROW)


def test_few_tokens_are_held_to_the_bound_of_one_and_many_to_that_of_the_mean() -> None:
    assert apart(7, 0.05) == ()
    assert apart(8, 0.05) == ("G-NLL differs by 0.0500 nats a token, 0.01 are allowed",)
    assert apart(8, 0.009) == ()


def test_a_token_may_differ_by_what_its_log_odds_may_and_so_by_less_the_surer_both_engines_are() -> None:
    # d log p = (1 - p) d log(p / (1 - p)): 0.2 of log odds are 0.1 at p = 0.5, less than 0.02 at p = 0.9.
    half, sure = math.log(0.5), math.log(0.9)
    assert apart(1, 0.1, half) == ()
    assert apart(1, 0.2, half) == (
        "a token differs by 0.2000 nats, 0.1191 are allowed where one of the engines gives it 40.9%",
    )
    assert apart(1, 0.02, sure) == ()
    assert apart(1, 0.05, sure) == (
        "a token differs by 0.0500 nats, 0.0298 are allowed where one of the engines gives it 85.6%",
    )


@pytest.mark.parametrize("p", [0.001, 0.3, 0.9, 0.9999])
def test_log_odds_at_the_bound_are_within_it_to_first_order_and_twice_as_far_apart_are_not(p) -> None:
    def logprob(odds: float) -> float:
        return -math.log1p(math.exp(-odds))

    odds, exact = math.log(p / (1 - p)), Tolerance(name="t", odds=0.01, mean=1, contains="nothing")
    summed = exact.of_token(0.0, 0.0)
    for times, is_within in ((0.98, True), (2.0, False)):
        ours, theirs = logprob(odds), logprob(odds - 0.01 * times)
        assert (ours - theirs <= exact.of_token(ours, theirs) - summed) is is_within


def test_errors_that_cancel_out_in_the_mean_are_seen_in_the_token() -> None:
    first = answer(*(step("one", logprob=-1.0) for _ in range(10)))
    second = answer(*(step("one", logprob=-1.0 + sign * 0.3) for sign in (1, -1) * 5))
    assert compare("p", first, second).problems(NARROW) == (
        "a token differs by 0.3000 nats, 0.1274 are allowed where one of the engines gives it 36.8%",
    )


def test_the_verdict_is_over_all_prompts_and_names_the_worst() -> None:
    near = compare("near", answer(step("one", logprob=-0.5)), answer(step("one", logprob=-0.53)))
    same = compare("same", answer(step("one")), answer(step("one")))
    tie = compare("tie", answer(step(" three", (" four", 0.0))), answer(step(" four", (" three", 0.0))))
    found = Agreement(compared=(same, near, tie), tolerance=NARROW)
    assert found.agrees
    assert (found.n_identical, found.n_ties, found.n_tokens, found.n_same_count) == (2, 1, 2, 3)
    assert found.worst.prompt == "near"
    assert found.largest == pytest.approx(0.03)
    assert found.mean_absolute == pytest.approx(0.015)

    far = compare("far", answer(step("one", logprob=-0.5)), answer(step("one", logprob=-0.9)))
    broken = Agreement(compared=(same, far), tolerance=NARROW)
    assert not broken.agrees
    assert list(broken.problems) == ["far"]


def test_nothing_compared_is_no_agreement() -> None:
    found = Agreement(compared=(), tolerance=NARROW)
    assert not found.agrees
    assert (found.worst, found.largest, found.mean_absolute) == (None, None, None)
    tie = compare("tie", answer(step(" three", (" four", 0.0))), answer(step(" four", (" three", 0.0))))
    assert not Agreement(compared=(tie,), tolerance=NARROW).agrees


def test_equal_texts_of_other_tokens_are_a_parting() -> None:
    whole = answer(step("one two", ("one", 1.5)))
    found = compare("p", whole, answer(step("one", ("one two", 3.0)), step(" two")))
    assert found.parting.place == 0
    assert found.parting.gaps == (pytest.approx(1.5), pytest.approx(3.0))


def test_the_token_that_ends_an_answer_may_be_missing_in_one() -> None:
    first = answer(step("one"), step(" two"), step(END), finish="stop")
    second = answer(step("one"), step(" two"), finish="stop")
    for found in (compare("p", first, second), compare("p", second, first)):
        assert (found.parting, found.n_common) == (None, 2)
    # Where the other was cut off, it was not missing.
    cut = replace(second, finish_reason=FinishReason.LENGTH)
    assert compare("p", first, cut).problems(NARROW) == (
        "the answers part at token 3 without a tie (gap unknown)",
    )


def test_an_answer_that_ends_where_the_other_goes_on_parts_there() -> None:
    found = compare(
        "p",
        answer(step("one"), step(END, (" two", 0.02)), finish="stop"),
        answer(step("one"), step(" two", (END, 0.03))),
    )
    assert (found.parting.place, found.parting.is_tie(NARROW)) == (1, True)


def test_of_a_character_that_takes_several_tokens_the_last_is_compared() -> None:
    # llama.cpp lists no token behind which the text is no whole UTF-8; transformers lists it, and it adds nothing.
    first = answer(step("one"), step("é", logprob=-0.2), step(" four"))
    second = answer(
        step("one"), step(b"", (" two", 0.04), logprob=-0.7), step("é", logprob=-0.2), step(" four")
    )
    found = compare("p", first, second)
    assert (found.n_common, found.differences, found.parting) == (3, (0.0, 0.0, 0.0), None)

    # Where they part at the character, only the engine that lists all of its tokens knows what was at stake.
    other = answer(step("one"), step(" two", ("è", 0.3)))
    assert compare("p", other, second).parting.gaps == (pytest.approx(0.04),)
    assert compare("p", other, first).parting.gaps == ()
    assert not compare("p", other, first).parting.is_tie(NARROW)


@pytest.mark.parametrize("begun", [b"", "é".encode()[:1]], ids=["as transformers", "as llama.cpp"])
def test_a_parting_where_a_character_begins_is_judged_by_the_likeliest_beginning(begun) -> None:
    other = answer(step("é"))
    at_stake = answer(step(" two", (" three", 0.01), (begun, 0.07), (begun, 0.09)))
    found = compare("p", answer(step("one"), *at_stake.steps), answer(step("one"), *other.steps))
    assert found.parting.gaps == (pytest.approx(0.07),)
    # " three", more likely, begins no character.
    plain = answer(step(" two", (" three", 0.01)))
    assert compare("p", plain, other).parting.gaps == ()


def test_an_answer_that_is_cut_off_inside_a_character_is_compared_up_to_it() -> None:
    whole = answer(step("one"), step(b"", logprob=-0.7))
    assert compare("p", whole, answer(step("one"))).parting is None
