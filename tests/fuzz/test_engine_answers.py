import asyncio
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.engines.llama_cpp import LlamaCppEngine
from overnight.engines.ollama.client import OllamaEngine, _Facts
from overnight.engines.ollama.connection import AsyncServer
from overnight.engines.ollama.server import ServerVersion
from overnight.engines.openai.client import OpenAIEngine
from overnight.engines.openai.dialects import FACTS
from overnight.engines.openai.replies import counted_tokens, served_context, served_models
from overnight.engines.protocol import Completion, Engine
from overnight.engines.state import EngineState
from overnight.engines.transformers.client import TransformersEngine
from overnight.errors import BadResponse, EngineError
from overnight.planning.requests import Request
from overnight.prompting.messages import Message
from overnight.records import FinishReason
from overnight.spec.engine_openai import Dialect, OpenAISettings
from overnight.spec.execution import EngineSettings
from overnight.spec.model import ModelSpec
from overnight.text_models.client import TextModelClient
from tests.fuzz.effort import effort
from tests.fuzz.mutations import bodies, mutated

Handler = Callable[[httpx.Request], httpx.Response]
NOWHERE = Path("nowhere.json")
STATE = EngineState(status="serving", url="http://host", token="t", context_tokens=1024, slots=4)
REQUEST = Request(
    custom_id="d|i|control|0.0|0|closed",
    part="p",
    messages=(
        Message(role="system", content="Be brief. " * 50),
        Message(role="user", content="Who are you?"),
    ),
    temperature=0.7,
    top_p=0.9,
    top_k=20,
    max_new_tokens=8,
    seed=11,
    stop=("END",),
    logprobs=True,
)
WITH_STEPS = dataclasses.replace(REQUEST, alternatives=2)
_TOKENS = [
    {
        "token": piece,
        "logprob": -0.25 * number,
        "bytes": list(piece.encode()),
        "top_logprobs": [
            {"token": piece, "logprob": -0.25 * number, "bytes": list(piece.encode())},
            {"token": "o", "logprob": -3.0, "bytes": [111]},
        ],
    }
    for number, piece in enumerate(["I", " am", " é"], start=1)
]
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "I am é"},
            "finish_reason": "stop",
            "logprobs": {"content": _TOKENS},
        }
    ],
    "usage": {
        "prompt_tokens": 12,
        "completion_tokens": 3,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
    "timings": {"prompt_ms": 12.5, "predicted_ms": 30.0},
}
OLLAMA = {
    "model": "m",
    "created_at": "2026-01-01T00:00:00Z",
    "message": {"role": "assistant", "content": "I am é"},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 130,
    "eval_count": 3,
    "prompt_eval_duration": 1_500_000_000,
    "eval_duration": 250_000_000,
    "logprobs": _TOKENS,
}
OURS = {
    "text": "I am é",
    "finish_reason": "stop",
    "prompt_tokens": 12,
    "cached_tokens": 4,
    "completion_tokens": 3,
    "token_logprobs": [-0.25, -0.5, -0.75],
    "template": "chat",
    "prefill_s": 0.01,
    "decode_s": 0.02,
    "steps": [{**token, "id": number, "ends": False} for number, token in enumerate(_TOKENS)],
}
COUNTED = {"prompt": "Be brief.", "tokens": [1, 2, 3], "count": 3, "prompt_tokens": 3}
ERROR = {"error": {"message": "no", "type": "invalid_request_error", "code": 400, "param": "logprobs"}}


def transport(handler: Handler) -> Any:
    return httpx.MockTransport(handler)


def llama_cpp(handler: Handler) -> Engine:
    engine = LlamaCppEngine(NOWHERE, timeout_s=5, startup_timeout_s=1)
    engine._state, engine._client = (
        STATE,
        httpx.AsyncClient(base_url="http://host", transport=transport(handler)),
    )
    return engine


def transformers(handler: Handler) -> Engine:
    engine = TransformersEngine(NOWHERE, timeout_s=5, startup_timeout_s=1)
    engine._state, engine._client = (
        STATE,
        httpx.AsyncClient(base_url="http://host", transport=transport(handler)),
    )
    return engine


def ollama(handler: Handler) -> Engine:
    engine = OllamaEngine(NOWHERE, "ollama:m", EngineSettings(), timeout_s=5)
    facts = object.__new__(_Facts)
    facts.context_tokens, facts.version = 1024, ServerVersion(0, 34, 2)
    facts.is_thinking, facts.stops = False, ()
    engine._facts, engine._client = facts, AsyncServer(host="http://host", transport=transport(handler))
    return engine


def openai(dialect: Dialect) -> Callable[[Handler], Engine]:
    model = ModelSpec.model_validate(
        {
            "name": "served",
            "engine": "openai_compatible",
            "source": "openai:m",
            "family": "f",
            "params_billion": 8,
            "quantization": "unknown",
            "context_tokens": 512,
            "endpoint": {"base_url": "http://host/v1", "dialect": dialect.value},
        }
    )

    def make(handler: Handler) -> Engine:
        engine = OpenAIEngine(
            Path(f"{dialect}.json"),
            model,
            settings=OpenAISettings(attempts=1),
            concurrency=1,
            timeout_s=5,
            startup_timeout_s=1,
        )
        engine._state, engine._connection._client = STATE, httpx.AsyncClient(transport=transport(handler))
        return engine

    return make


ENGINES: Mapping[str, tuple[Callable[[Handler], Engine], dict[str, Any]]] = {
    "llama_cpp": (llama_cpp, CHAT),
    "transformers": (transformers, OURS),
    "ollama": (ollama, OLLAMA),
    **{f"openai-{dialect.value}": (openai(dialect), CHAT) for dialect in Dialect},
}
ASKS = ("/chat/completions", "/complete", "/api/chat")


def answered(
    name: str, request: Request, status: int, body: bytes, beside: bytes, headers: dict[str, str]
) -> Completion:
    """Return what an engine makes of a server's answer, and of what else it is told on the way."""
    make, _ = ENGINES[name]

    def handler(asked: httpx.Request) -> httpx.Response:
        is_answer = asked.url.path.endswith(ASKS)
        return httpx.Response(
            status if is_answer else 200, content=body if is_answer else beside, headers=headers
        )

    async def ask() -> Completion:
        engine = make(handler)
        try:
            return await engine.complete(request)
        finally:
            await engine.close()

    return asyncio.run(ask())


def require_right(completion: Completion, request: Request, body: bytes) -> None:
    """A completion says nothing that its answer does not say, and can be written down."""
    assert isinstance(completion.text, str)
    assert isinstance(completion.finish_reason, FinishReason)
    for count in (completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens):
        assert count is None or (type(count) is int and 0 <= count < 2**53)
    for seconds in (completion.prefill_s, completion.decode_s, completion.latency_s):
        assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
    logprobs = completion.token_logprobs
    if logprobs is not None:
        assert all(type(value) is float and math.isfinite(value) and value <= 0.001 for value in logprobs)
        if completion.completion_tokens is not None:
            assert len(logprobs) <= completion.completion_tokens + 1
    json.dumps([completion.mean_logprob, completion.sent], allow_nan=False)
    for step in completion.steps or ():
        assert all(
            math.isfinite(token.logprob) and token.logprob <= 0.001 for token in (step.taken, *step.likeliest)
        )
    texts = json.dumps(json.loads(body), ensure_ascii=True)
    assert json.dumps(completion.text)[1:-1] in texts


@pytest.mark.parametrize("name", ENGINES)
def test_a_valid_answer_is_read(name: str) -> None:
    # What is wrong below is wrong with something that is right before.
    body, beside = json.dumps(ENGINES[name][1]).encode(), json.dumps(COUNTED).encode()
    completion = answered(name, WITH_STEPS, 200, body, beside, {})
    assert (completion.text, completion.finish_reason, completion.completion_tokens) == (
        "I am é",
        FinishReason.STOP,
        3,
    )
    if name != "openai-lm_studio":
        assert completion.token_logprobs == (-0.25, -0.5, -0.75)
        assert completion.steps
    require_right(completion, WITH_STEPS, body)


FOUND = [
    b"[" * 3000,  # RecursionError is no ValueError
    b'{"choices": NaN}',
    b"<html></html>",
]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("body", FOUND)
def test_what_is_no_answer_is_an_error_of_ours(name: str, body: bytes) -> None:
    with pytest.raises(EngineError):
        answered(name, REQUEST, 200, body, b"{}", {})


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "openai-lm_studio"])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1.0, "-1", True, None])
def test_a_log_probability_that_is_none_makes_no_answer(name: str, wrong: Any) -> None:
    # It went into the journal, which takes no NaN, and ended the trial there.
    if name == "ollama" and wrong == "-1":
        return  # its client makes a number of it, the one that was meant
    text = json.dumps(ENGINES[name][1]).replace("-0.25", json.dumps(wrong))
    with pytest.raises(BadResponse):
        answered(name, REQUEST, 200, text.encode(), b"{}", {})


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "openai-lm_studio"])
def test_more_log_probabilities_than_tokens_make_no_answer(name: str) -> None:
    text = json.dumps(ENGINES[name][1]).replace('"completion_tokens": 3', '"completion_tokens": 1')
    with pytest.raises(BadResponse):
        answered(name, REQUEST, 200, text.replace('"eval_count": 3', '"eval_count": 1').encode(), b"{}", {})


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("wrong", [-1, 1.5, "3", True, 1e300, float("nan")])
def test_a_count_that_is_none_makes_no_answer(name: str, wrong: Any) -> None:
    text = json.dumps(ENGINES[name][1]).replace(
        '"completion_tokens": 3', f'"completion_tokens": {json.dumps(wrong)}'
    )
    if name != "ollama":  # whose client checks types itself
        with pytest.raises(BadResponse):
            answered(name, REQUEST, 200, text.encode(), b"{}", {})


def test_what_llama_cpp_leaves_out_is_left_out() -> None:
    body = CHAT | {"usage": CHAT["usage"] | {"prompt_tokens_details": None}, "timings": None}
    completion = answered("llama_cpp", REQUEST, 200, json.dumps(body).encode(), b"{}", {})
    assert (completion.cached_tokens, completion.prefill_s) == (None, None)


@pytest.mark.parametrize("name", ENGINES)
def test_half_of_a_surrogate_pair_is_asked_as_it_is(name: str) -> None:
    # A judge is asked about replies, in which a model may leave one; UTF-8 has none.
    messages = (Message(role="user", content="\ud800?"),)
    body = json.dumps(ENGINES[name][1]).encode()
    if name == "ollama":  # whose client writes UTF-8
        with pytest.raises(EngineError):
            answered(name, dataclasses.replace(REQUEST, messages=messages), 200, body, b"{}", {})
    else:
        assert answered(name, dataclasses.replace(REQUEST, messages=messages), 200, body, b"{}", {}).text


@pytest.mark.parametrize("name", ENGINES)
@effort(0.3)
@given(data=st.data(), request=st.sampled_from([REQUEST, WITH_STEPS]))
def test_an_answer_is_right_or_an_error_of_ours(name: str, data: st.DataObject, request: Request) -> None:
    body = data.draw(bodies(ENGINES[name][1]))
    beside = data.draw(st.just(json.dumps(COUNTED).encode()) | bodies(COUNTED))
    try:
        completion = answered(name, request, 200, body, beside, {})
    except EngineError:
        return
    require_right(completion, request, body)


@pytest.mark.parametrize("name", ENGINES)
@effort(0.3)
@given(
    body=bodies(ERROR),
    status=st.sampled_from(
        [201, 204, 301, 400, 401, 402, 403, 404, 408, 413, 418, 422, 429, 500, 501, 502, 503, 529, 599]
    ),
    wait=st.sampled_from(
        ["", "0", "1.5", "9" * 400, "nan", "-1", "Fri, 31 Dec 99999 23:59:59 GMT", "x", "٣", "Wed, 21"]
    )
    | st.text(st.characters(codec="latin-1", min_codepoint=32, exclude_categories=["Cc"]), max_size=30),
)
def test_a_refusal_is_an_error_of_ours(name: str, body: bytes, status: int, wait: str) -> None:
    headers = {"content-type": "application/json"}
    if wait.isascii():
        headers["retry-after"] = wait
    with pytest.raises(EngineError) as caught:
        answered(name, REQUEST, status, body, b"{}", headers)
    assert str(caught.value)


@effort(0.4)
@given(
    value=mutated(
        {
            "data": [{"id": "m", "aliases": ["n"], "max_model_len": 512}],
            "default_generation_settings": {"n_ctx": 3},
        }
    )
)
@pytest.mark.parametrize("dialect", Dialect)
def test_what_a_server_says_of_its_models_is_understood_or_passed_over(dialect: Dialect, value: Any) -> None:
    for entry in served_models(value).values():
        context = served_context(FACTS[dialect], entry, value)
        assert context is None or (type(context) is int and context > 0)
    counted = counted_tokens(value)
    assert counted is None or (type(counted) is int and counted >= 0)


@given(
    body=bodies({"values": [[0.5, 0.25], [0.1, 0.9]], "cut": [False, True]}),
    status=st.sampled_from([200, 500]),
)
def test_what_a_text_model_says_of_pairs_is_of_these_pairs_or_an_error_of_ours(
    body: bytes, status: int
) -> None:
    def answer(*_: Any, **__: Any) -> httpx.Response:
        return httpx.Response(status, content=body)

    client = TextModelClient(NOWHERE, timeout_s=5, startup_timeout_s=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "post", answer)
        patch.setattr(client, "_serving", lambda: STATE)
        try:
            found = client.values([("a", "b"), ("c", "d")])
        except EngineError:
            return
    assert len(found) == 2
    assert all(math.isfinite(value) for pair in found for value in pair.values)
