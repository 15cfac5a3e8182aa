"""Models that others serve: the real llama.cpp server, with a proxy in front of it that does what services do."""

import asyncio
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from overnight.engines.dispatch import DispatchPolicy, dispatch
from overnight.engines.openai.client import OpenAIEngine
from overnight.engines.openai.holder import ServedElsewhere
from overnight.errors import (
    BadResponse,
    ContextOverflow,
    EngineCrashed,
    EngineRefused,
    EngineUnavailable,
    ModelNotFound,
    RateLimited,
    UsageError,
)
from overnight.records import FinishReason
from overnight.spec.engine_openai import OpenAISettings
from overnight.store.journal import Journal, read_rows
from tests.engines.contract import llama_cpp_host, question, served_model
from tests.engines.misbehaving_proxy import Proxy, alter, answer, drop, hang, refuse_logprobs

KEY = "TEST_OPENAI_KEY"
BUSY = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory):
    with llama_cpp_host(weights, tmp_path_factory.mktemp("server")) as host:
        yield host


@pytest.fixture
def key(server, monkeypatch):
    monkeypatch.setenv(KEY, server.state.token)
    return server.state.token


@pytest.fixture
def proxy(server, key):
    with Proxy(server.state.url) as proxy:
        yield proxy


@pytest.fixture
def make(proxy, weights, tmp_path):
    """Return a maker of engines that talk to the proxy, their holder started."""
    holders = []

    def engine(*, dialect="llama_server", concurrency=4, timeout_s=30, startup_timeout_s=5, **settings):
        model = served_model(f"{proxy.url}/v1", str(weights), dialect=dialect, api_key_env=KEY)
        holder = ServedElsewhere(model, tmp_path / "engines", slots=concurrency, startup_timeout_s=5)
        holder.start()
        holders.append(holder)
        return OpenAIEngine(
            holder.state_path,
            model,
            settings=OpenAISettings(**settings),
            concurrency=concurrency,
            timeout_s=timeout_s,
            startup_timeout_s=startup_timeout_s,
            first_wait_s=0.02,
        )

    yield engine
    for holder in holders:
        holder.__exit__(None, None, None)


def _ask(engine, *requests):
    async def gather():
        return await asyncio.gather(*(engine.complete(request) for request in requests))

    return asyncio.run(_closing(engine, gather()))


async def _closing(engine, doing):
    try:
        return await doing
    finally:
        await engine.close()


QUICK = question(max_new_tokens=1)


def test_what_is_sent_is_the_request_in_the_dialect_of_the_server(make, proxy, weights, key) -> None:
    request = question(
        temperature=0.7, top_p=0.9, top_k=0, seed=11, stop=("END",), max_new_tokens=3, logprobs=True
    )
    (completion,) = _ask(make(), request)
    asked = proxy.asked[-1]
    expected = {"temperature": 0.7, "top_p": 0.9, "top_k": 0, "max_tokens": 3, "seed": 11, "stop": ["END"]}
    assert {name: asked[name] for name in expected} == expected
    assert (asked["model"], asked["min_p"], asked["logprobs"]) == (str(weights), 0.0, True)
    assert asked == {"model": asked["model"], "messages": asked["messages"], **completion.sent}
    assert proxy.keys[-1] == f"Bearer {key}"
    assert len(completion.token_logprobs) == 3


@pytest.mark.parametrize("as_a_date", [False, True])
def test_a_busy_server_is_left_alone_by_all_for_as_long_as_it_says(make, proxy, as_a_date) -> None:
    engine = make(concurrency=2)
    # A date has whole seconds, and it takes a moment until it is read: 3 s ahead asks for more than 1.
    text = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True) if as_a_date else "1"
    proxy.tricks.append(answer(429, BUSY, Retry_After=text))
    completions = _ask(engine, *(question(f"Say {n}.", max_new_tokens=1) for n in range(4)))
    assert len(completions) == 4
    # Two went at once; after the refusal nobody did for a second, the one that was not refused included.
    assert all(at - proxy.at[0] >= 0.9 for at in proxy.at[2:])
    assert all(completion.latency_s < 10 for completion in completions)


def test_concurrency_falls_when_the_server_is_busy_and_grows_again(make, proxy) -> None:
    engine = make(concurrency=8)
    proxy.tricks.append(answer(429, BUSY, Retry_After="0"))
    _ask(engine, QUICK)
    assert 4 < engine.pace.allowed + 1 <= 5  # half of eight, and one answer since
    _ask(engine, *[QUICK] * 25)
    assert engine.pace.allowed > 5


def test_a_server_that_stays_busy_ends_in_an_error_that_says_how_often_it_was_asked(make, proxy) -> None:
    engine = make(attempts=3)
    proxy.always = answer(429, BUSY)
    with pytest.raises(
        RateLimited, match=r"Rate limit reached; tried 3 times .*execution\.engine\.openai\.attempts"
    ):
        _ask(engine, QUICK)
    assert len(proxy.asked) == 3


def test_a_server_that_wants_more_time_than_there_is_patience_is_not_waited_for(make, proxy) -> None:
    proxy.always = answer(429, BUSY, Retry_After="3600")
    started = time.monotonic()
    with pytest.raises(RateLimited, match=r"wants another 3600 s .*patience_s, 60"):
        _ask(make(patience_s=60), QUICK)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("status", [408, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again(make, proxy, status) -> None:
    proxy.tricks.extend(
        [answer(status, {"error": {"message": "overloaded"}}), answer(status, "<html>oh</html>")]
    )
    (completion,) = _ask(make(), QUICK)
    assert completion.completion_tokens == 1
    assert len(proxy.asked) == 3


def test_a_server_that_is_away_for_longer_is_unavailable(make, proxy) -> None:
    proxy.always = answer(503, {"error": {"message": "overloaded"}})
    with pytest.raises(EngineUnavailable, match="HTTP 503: overloaded; tried 2 times"):
        _ask(make(attempts=2), QUICK)


def test_silence_is_cut_off_and_tried_again(make, proxy) -> None:
    engine = make(timeout_s=10)
    _ask(engine, QUICK)  # warm, so that the time-out below measures the silence alone
    engine._connection._timeout_s = 1.0
    proxy.tricks.append(hang(2))
    (completion,) = _ask(engine, QUICK)
    assert completion.completion_tokens == 1


def test_endless_silence_is_a_bad_response(make, proxy) -> None:
    proxy.always = hang(1)
    with pytest.raises(BadResponse, match=r"no answer within 0\.2 s .*tried 2 times"):
        _ask(make(timeout_s=0.2, attempts=2), QUICK)


def test_malformed_json_is_tried_again_and_then_a_bad_response(make, proxy) -> None:
    engine = make(attempts=2)
    proxy.tricks.append(answer(200, '{"choices": [{"mess'))
    assert _ask(engine, QUICK)[0].completion_tokens == 1
    proxy.always = answer(200, '{"choices": [{"mess')
    with pytest.raises(BadResponse, match="not a JSON object"):
        _ask(engine, QUICK)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("content_filter", "content filter"),
        ("tool_calls", "tool"),
        (None, "did not finish"),
        ("abort", "abort"),
    ],
)
def test_an_answer_that_is_none_is_a_bad_response_with_its_reason(make, proxy, reason, message) -> None:
    proxy.always = alter(lambda body: body["choices"][0].update(finish_reason=reason))
    with pytest.raises(BadResponse, match=message):
        _ask(make(), QUICK)
    assert len(proxy.asked) == 1  # the dispatch decides whether to ask again


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "'logprobs' is not supported with this model"),
        (403, "You are not allowed to request logprobs from this model."),
        (422, "Extra inputs are not permitted: logprobs"),
    ],
)
def test_refused_log_probabilities_are_given_up_once_and_said_once(
    make, proxy, caplog, status, message
) -> None:
    engine = make()
    proxy.always = refuse_logprobs(status, message)
    with caplog.at_level(logging.WARNING):
        first = _ask(engine, question(max_new_tokens=1, logprobs=True))
        second = _ask(engine, question(max_new_tokens=1, logprobs=True))
    assert [completion.token_logprobs for completion in first + second] == [None, None]
    assert ["logprobs" in asked for asked in proxy.asked] == [True, False, False]
    assert "logprobs" not in first[0].sent
    assert sum("no log-probabilities" in record.message for record in caplog.records) == 1


def test_a_server_that_refuses_alternatives_gives_log_probabilities_all_the_same(make, proxy) -> None:
    # An audit may not take the confidences of the trials that come after it.
    def refuse(handler, asked) -> bool:
        if asked.get("top_logprobs") != 5:
            return False
        handler.reply(400, {"error": {"message": "top_logprobs must be at most 2", "type": "bad"}}, {})
        return True

    proxy.always = refuse
    engine = make()
    (looked_into,) = _ask(engine, question(max_new_tokens=1, logprobs=True, alternatives=5))
    (later,) = _ask(engine, question(max_new_tokens=1, logprobs=True))
    assert looked_into.steps is None
    assert len(looked_into.token_logprobs) == len(later.token_logprobs) == 1


def test_a_server_that_leaves_log_probabilities_out_is_answered_without(make, proxy, caplog) -> None:
    proxy.always = alter(lambda body: body["choices"][0].pop("logprobs", None))
    with caplog.at_level(logging.WARNING):
        (completion,) = _ask(make(), question(max_new_tokens=2, logprobs=True))
    assert completion.token_logprobs is None
    assert "answers without them" in caplog.text


@pytest.mark.parametrize(
    ("status", "body"),
    [
        # OpenAI
        (
            400,
            {
                "error": {
                    "message": "This model's maximum context length is 8192 tokens. However, your messages resulted "
                    "in 9000 tokens.",
                    "type": "invalid_request_error",
                    "param": "messages",
                    "code": "context_length_exceeded",
                }
            },
        ),
        # vLLM, before and since its errors stand under "error"
        (
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 6048 tokens. However, you requested 6616 tokens "
                "(568 in the messages, 6048 in the completion).",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
        (
            400,
            {
                "error": {
                    "message": "max_tokens must be at least 1, got -186.",
                    "type": "BadRequestError",
                    "code": 400,
                }
            },
        ),
        # Fireworks
        (
            400,
            {
                "error": {
                    "object": "error",
                    "type": "invalid_request_error",
                    "message": "The prompt is too long: 38910, model maximum context length: 32767",
                }
            },
        ),
        # LM Studio, with 400 and, since 0.4, with 200
        (
            400,
            {
                "error": "Trying to keep the first 15857 tokens when context the overflows. However, the model is "
                "loaded with context length of only 4096 tokens, which is not enough."
            },
        ),
        (200, {"error": "Context size has been exceeded."}),
    ],
)
def test_every_servers_word_for_too_long_is_a_context_overflow(make, proxy, status, body) -> None:
    proxy.always = answer(status, body)
    with pytest.raises(ContextOverflow, match="shorten the prompt"):
        _ask(make(), QUICK)
    assert len(proxy.asked) == 1


def test_a_shortened_question_is_no_question(make, proxy) -> None:
    # 600 bytes might not fit into 512 tokens, so the server's own tokenizer was asked, and knows better.
    proxy.always = alter(lambda body: body["usage"].update(prompt_tokens=90))
    with pytest.raises(
        BadResponse, match=r"evaluated 90 of the prompt's \d+ tokens: it shortened the question"
    ):
        _ask(make(), question("elephant " * 90, max_new_tokens=1))


def test_a_prompt_that_surely_fits_is_not_counted(make, proxy) -> None:
    _ask(make(), QUICK)
    assert "/tokenize" not in proxy.paths
    _ask(make(), question("elephant " * 90, max_new_tokens=1))
    assert proxy.paths[-3:] == ["/apply-template", "/tokenize", "/v1/chat/completions"]


def test_a_wrong_key_names_its_variable_and_is_in_no_error_and_no_log(
    make, proxy, monkeypatch, caplog
) -> None:
    engine = make()
    monkeypatch.setenv(KEY, "sk-secret-of-somebody")
    with caplog.at_level(logging.DEBUG), pytest.raises(EngineRefused, match=KEY) as refused:
        _ask(engine, QUICK)
    assert len(proxy.asked) == 1
    assert "sk-secret" not in f"{refused.value!r} {caplog.text}"


def test_a_key_that_a_server_repeats_is_taken_out_of_its_words(make, proxy, key) -> None:
    proxy.always = answer(400, {"error": {"message": f"do not like {key}"}})
    with pytest.raises(BadResponse, match=r"do not like \*\*\*"):
        _ask(make(), QUICK)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (402, {"message": "Payment required"}),
        (
            429,
            {
                "message": "You exceeded your current quota",
                "type": "insufficient_quota",
                "code": "insufficient_quota",
            },
        ),
        (
            412,
            {"message": "Account somebody is suspended, possibly due to reaching the monthly spending limit"},
        ),
    ],
)
def test_an_account_without_credit_ends_it_at_once(make, proxy, status, error) -> None:
    proxy.always = answer(status, {"error": error})
    with pytest.raises(EngineRefused, match=r"no credit left.*then resume"):
        _ask(make(), QUICK)
    assert len(proxy.asked) == 1


def test_an_account_that_runs_dry_stops_the_trial_and_keeps_its_answers(make, proxy, tmp_path) -> None:
    # Otherwise every item that is left would be asked three times and become an error.
    proxy.tricks.extend([answer(200, _answered("one")), answer(200, _answered("two"))])
    proxy.always = answer(402, {"error": {"message": "Payment required"}})
    requests = [question(f"Say {n}.", custom_id=f"d|{n}|control|0.0|0|closed") for n in range(20)]
    engine = make()
    with Journal(tmp_path / "generations.jsonl") as journal:
        sending = dispatch(
            requests,
            engine,
            journal,
            policy=DispatchPolicy(concurrency=2, attempts_per_item=3, max_engine_restarts=3),
            row_fields={"model_digest": "served-0"},
            should_stop=lambda: False,
            on_answered=lambda rows: None,
        )
        with pytest.raises(EngineRefused):
            asyncio.run(_closing(engine, sending))
    # Two are asked at a time: which of them is written first is nobody's business.
    assert {row["text"] for row in read_rows(tmp_path / "generations.jsonl")} == {"one", "two"}
    assert len(proxy.asked) <= 4


def _answered(text: str) -> dict:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", "index": 0}
    return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}


def test_what_a_service_leaves_out_is_none_and_never_zero(make, proxy) -> None:
    proxy.always = answer(200, {"choices": _answered("yes")["choices"], "usage": None})
    (completion,) = _ask(make(), QUICK)
    assert (completion.text, completion.prompt_tokens, completion.cached_tokens) == ("yes", None, None)
    assert (completion.completion_tokens, completion.token_logprobs, completion.prefill_s) == (
        None,
        None,
        None,
    )


def test_a_model_that_went_away_is_said_with_those_that_are_there(make, proxy, weights) -> None:
    proxy.always = answer(
        404, {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}}
    )
    with pytest.raises(ModelNotFound, match=weights.name):
        _ask(make(), QUICK)


def test_a_lost_connection_is_unavailable_and_recovered_from_when_the_server_answers(make, proxy) -> None:
    engine = make()
    proxy.tricks.append(drop())

    async def ask() -> str:
        try:
            with pytest.raises(EngineUnavailable, match="cannot be reached"):
                await engine.complete(QUICK)
            await engine.recover()
            return (await engine.complete(question())).text
        finally:
            await engine.close()

    assert "Paris" in asyncio.run(ask())


def test_a_server_that_does_not_come_back_has_crashed(make, proxy) -> None:
    engine = make(startup_timeout_s=0.5)
    proxy.__exit__()
    with pytest.raises(EngineCrashed, match=r"did not answer within 0\.5 s"):
        asyncio.run(_closing(engine, engine.recover()))
    proxy.__enter__()


def test_a_recovery_leaves_the_requests_of_others_alone(make, proxy) -> None:
    engine = make()

    async def ask() -> FinishReason:
        task = asyncio.create_task(
            engine.complete(question("Write a long story about a fox.", max_new_tokens=24))
        )
        await asyncio.sleep(0.2)
        await engine.recover()
        try:
            return (await task).finish_reason
        finally:
            await engine.close()

    assert asyncio.run(ask()) is FinishReason.LENGTH


def test_no_more_is_sent_in_a_minute_than_was_allowed(make, proxy) -> None:
    _ask(make(requests_per_minute=120), *[QUICK] * 4)
    # Three times half a second; when a request arrives, a busy machine decides as well.
    assert proxy.at[-1] - proxy.at[0] >= 1.1


def test_no_more_is_under_way_than_was_allowed(make, proxy) -> None:
    _ask(make(concurrency=2), *(question(f"Say {n}.", max_new_tokens=1) for n in range(8)))
    assert proxy.most_at_once == 2


def test_the_state_file_says_what_is_served_and_never_the_key(make, proxy, key, tmp_path) -> None:
    make(concurrency=3)
    (path,) = (tmp_path / "engines").glob("*.json")
    state = json.loads(path.read_text())
    assert (state["status"], state["url"], state["slots"]) == ("serving", f"{proxy.url}/v1", 3)
    assert state["context_tokens"] == 512  # of the server, not the 8192 of the model
    assert (state["token"], state["loads"]) == (None, 0)
    assert key not in path.read_text()


def test_a_server_without_the_model_is_found_before_anything_is_asked(proxy, weights, tmp_path) -> None:
    model = served_model(f"{proxy.url}/v1", "some-other-model", api_key_env=KEY)
    with ServedElsewhere(model, tmp_path, slots=1, startup_timeout_s=5) as holder:
        with pytest.raises(
            ModelNotFound, match=rf"does not serve 'some-other-model'; it serves .*{weights.name}"
        ):
            holder.start()
        assert not holder.state_path.exists()


def test_a_service_whose_list_is_not_complete_may_serve_what_is_not_in_it(proxy, tmp_path) -> None:
    model = served_model(
        f"{proxy.url}/v1", "accounts/me/deployments/mine", dialect="fireworks", api_key_env=KEY
    )
    with ServedElsewhere(model, tmp_path, slots=1, startup_timeout_s=5) as holder:
        holder.start()
        assert holder.state.context_tokens == 8192  # nobody says; the model file does
    assert not holder.state_path.exists()


@pytest.mark.parametrize(
    ("base_url", "error", "message"),
    [
        ("http://127.0.0.1:9/v1", EngineUnavailable, r"nobody answers at http://127\.0\.0\.1:9/v1"),
        ("{proxy}/v2", BadResponse, r"does base_url end with /v1\?"),
    ],
)
def test_a_wrong_address_is_said(proxy, key, tmp_path, base_url, error, message) -> None:
    model = served_model(base_url.format(proxy=proxy.url), "m", api_key_env=KEY)
    with (
        ServedElsewhere(model, tmp_path, slots=1, startup_timeout_s=5) as holder,
        pytest.raises(error, match=message),
    ):
        holder.start()


def test_a_key_that_is_not_set_is_named_before_anything_is_sent(proxy, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv(KEY)
    model = served_model(f"{proxy.url}/v1", "m", api_key_env=KEY)
    with ServedElsewhere(model, tmp_path, slots=1, startup_timeout_s=5) as holder:
        with pytest.raises(UsageError, match=f"environment variable {KEY} is not set"):
            holder.start()
        assert proxy.paths == []


def test_a_server_that_wants_a_key_says_so_where_none_is_named(proxy, weights, tmp_path) -> None:
    model = served_model(f"{proxy.url}/v1", str(weights))
    with (
        ServedElsewhere(model, tmp_path, slots=1, startup_timeout_s=5) as holder,
        pytest.raises(EngineRefused, match=r"name its environment variable in endpoint\.api_key_env"),
    ):
        holder.start()
