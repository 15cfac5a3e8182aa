"""One contract for all engines, with the real model; how an engine joins it stands in ``contract.py``."""

import asyncio
import itertools
import json
import math
import time

import pytest

from overnight.errors import ContextOverflow, EngineUnavailable
from overnight.invariance.parting import part
from overnight.records import FinishReason
from tests.engines.contract import ENGINES, ask, connected, question

LONG = question("Write a long story about a fox and a crow.", max_new_tokens=64)


@pytest.fixture(scope="module", params=sorted(ENGINES))
def subject(request, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with ENGINES[request.param](weights, folder) as subject:
        yield subject


def test_an_answer_comes_with_its_tokens_and_why_it_ended(subject) -> None:
    (completion,) = ask(subject, question())
    assert "Paris" in completion.text
    assert completion.finish_reason is FinishReason.STOP
    assert completion.prompt_tokens > 10
    assert 0 < completion.completion_tokens <= 16
    assert completion.cached_tokens is None or 0 <= completion.cached_tokens <= completion.prompt_tokens
    assert completion.latency_s > 0


def test_what_was_sent_can_be_written_down_and_leaves_the_messages_out(subject) -> None:
    # It stands on every row of the journal; the messages do not, or a journal would hold each prompt many times.
    (completion,) = ask(subject, question("Something that stands nowhere else", max_new_tokens=1))
    assert "Something that stands nowhere else" not in json.dumps(completion.sent)


def test_a_cut_off_answer_says_so(subject) -> None:
    (completion,) = ask(subject, question("Count from one to fifty.", max_new_tokens=4))
    assert completion.finish_reason is FinishReason.LENGTH
    assert completion.completion_tokens == 4


def test_a_stop_string_ends_the_answer_before_itself(subject) -> None:
    (completion,) = ask(subject, question(stop=("Paris",)))
    assert "Paris" not in completion.text
    assert completion.text
    assert completion.finish_reason is FinishReason.STOP


def test_the_same_seed_draws_the_same_and_another_seed_draws_another(subject) -> None:
    # One after the other: what neighbours do to an answer is tested where an engine promises something about it.
    draws = [
        ask(subject, question("Write a line about the sea.", temperature=1.0, top_k=0, seed=seed))[0].text
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_greedy_answers_do_not_depend_on_the_seed(subject) -> None:
    first, other = (ask(subject, question(seed=seed))[0].text for seed in (1, 2))
    assert first == other


def test_there_is_one_log_probability_a_token(subject) -> None:
    _needs_logprobs(subject)
    (completion,) = ask(subject, question(logprobs=True))
    # The token that ends the answer may be counted, and may be in the list, or not: each engine's own affair.
    assert abs(len(completion.token_logprobs) - completion.completion_tokens) <= 1
    assert all(math.isfinite(value) and value <= 0 for value in completion.token_logprobs)


def test_log_probabilities_are_the_models_own_whatever_the_sampling(subject) -> None:
    _needs_logprobs(subject)
    # With a top_k of 1 the temperature changes no token; a scaled log-probability would be far off at 2.
    cold, hot = (
        ask(subject, question(logprobs=True, temperature=temperature, top_k=1))[0]
        for temperature in (0.0, 2.0)
    )
    assert hot.text == cold.text
    assert hot.token_logprobs == pytest.approx(cold.token_logprobs, abs=2e-3)


def test_log_probabilities_come_only_where_they_were_asked_for(subject) -> None:
    assert ask(subject, question(max_new_tokens=2))[0].token_logprobs is None


def test_an_answer_that_is_looked_into_is_the_same_and_shows_its_steps(subject) -> None:
    # What an audit compares answers by; it may not change what it looks into.
    _needs_logprobs(subject)
    for stop in ((), (" Paris",)):
        plain, shown = (ask(subject, question(logprobs=True, alternatives=n, stop=stop))[0] for n in (0, 3))
        assert (plain.steps, plain.counted_tokens) == (None, None)
        assert (shown.text, shown.finish_reason) == (plain.text, plain.finish_reason)
        assert part(shown.steps, shown.text, stop).step is None
        assert {len(step.likeliest) for step in shown.steps} == {3}
        # Greedy: what was taken was the likeliest. A stop text may hide the last one.
        for step in shown.steps[:-1]:
            best = max(step.likeliest, key=lambda token: token.logprob)
            assert best.piece == step.taken.piece
            assert best.logprob == pytest.approx(step.taken.logprob, abs=1e-4)
        assert shown.counted_tokens in (None, shown.prompt_tokens)


def test_unicode_goes_there_and_comes_back(subject) -> None:
    plain, marked, repeated = ask(
        subject,
        question("Repeat:", max_new_tokens=2),
        question("Repeat: “naïve” ☕ \x07 \u2028 🦊 日本語", max_new_tokens=2),
        question("Write the word café ten times.", max_new_tokens=8),
    )
    assert marked.prompt_tokens > plain.prompt_tokens + 6
    assert "é" in repeated.text


@pytest.mark.parametrize(("words", "max_new_tokens"), [(700, 16), (300, 400)])
def test_what_does_not_fit_is_refused_and_never_shortened(subject, words, max_new_tokens) -> None:
    async def overflow() -> str:
        async with connected(subject) as engine:
            with pytest.raises(ContextOverflow):
                await engine.complete(question("word " * words, max_new_tokens=max_new_tokens))
            return (await engine.complete(question(max_new_tokens=1))).text  # and others are answered

    assert isinstance(asyncio.run(overflow()), str)


def test_a_prompt_of_many_bytes_that_fits_is_answered_in_full(subject) -> None:
    (completion,) = ask(
        subject, question("elephant " * 90, max_new_tokens=1)
    )  # 810 bytes, some 300 tokens at most
    assert 90 <= completion.prompt_tokens < 512


def test_many_requests_at_once_all_get_their_own_answer(subject) -> None:
    # Each question is a token longer than the one before, so a swapped answer would show in its prompt's length.
    lengths = [
        completion.prompt_tokens
        for completion in ask(subject, *(question("word " * n, max_new_tokens=1) for n in range(1, 9)))
    ]
    assert all(longer > shorter for shorter, longer in itertools.pairwise(lengths))


def test_a_cancelled_request_makes_room_at_once(subject) -> None:
    async def seconds() -> tuple[float, float]:
        async with connected(subject) as engine:
            started = time.perf_counter()
            assert (await engine.complete(LONG)).finish_reason is FinishReason.LENGTH
            long_s = time.perf_counter() - started
            tasks = [asyncio.create_task(engine.complete(LONG)) for _ in range(8)]
            await asyncio.sleep(0.2)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            started = time.perf_counter()
            await engine.complete(question(max_new_tokens=1))
            return time.perf_counter() - started, long_s

    waited_s, long_s = asyncio.run(seconds())
    # Two at a time, the eight would have taken four times as long as the one.
    assert waited_s < 2 * long_s


def test_death_in_mid_request_is_said_and_got_over(subject) -> None:
    if subject.kill is None:
        pytest.skip("the server is somebody else's")

    async def die() -> str:
        async with connected(subject) as engine:
            await engine.complete(question(max_new_tokens=1))
            task = asyncio.create_task(
                engine.complete(question(LONG.messages[1]["content"], max_new_tokens=400))
            )
            await asyncio.sleep(0.3)
            subject.kill()
            with pytest.raises(EngineUnavailable):
                await task
            await engine.recover()
            return (await engine.complete(question())).text

    assert "Paris" in asyncio.run(die())


def test_closing_twice_is_closing_once_and_a_closed_engine_can_be_asked_again(subject) -> None:
    # A deadline asks a trial slice by slice and closes its engine after each.
    async def close() -> str:
        engine = subject.connect()
        await engine.close()
        await engine.complete(question(max_new_tokens=1))
        await engine.close()
        await engine.close()
        text = (await engine.complete(question())).text
        await engine.close()
        return text

    assert "Paris" in asyncio.run(close())


def _needs_logprobs(subject) -> None:
    if not subject.gives_logprobs:
        pytest.skip("this engine gives no log-probabilities")
