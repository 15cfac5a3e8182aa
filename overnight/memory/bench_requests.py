"""What `overnight bench memory` asks of an engine, so that its process comes to hold what the estimate is of."""

import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from overnight.engines.host import EngineHost
from overnight.errors import BadResponse

_ANSWER_TOKENS = 16
_PROMPT_TOKENS = 560  # more than llama.cpp computes at once, so that its buffer is used whole
_SHORT_PROMPT_TOKENS = 64  # of the other slots: their cache is there from the beginning
_ROUNDS = 2  # the second saves the prompts of the first
_TRIES = 5  # until the rows of a batch came in time to be one
_TIMEOUT_S = 600


def fill_slots(host: EngineHost, slots: int, context_tokens: int, vocabulary: int) -> int:
    """Ask llama.cpp in every slot at once, twice, prompts that have nothing in common; return the tokens it saved."""
    room = context_tokens - 2 * _ANSWER_TOKENS
    lengths = [min(room, _PROMPT_TOKENS), *[min(room, _SHORT_PROMPT_TOKENS)] * (slots - 1)]
    stream = random.Random(2025)  # noqa: S311 - prompts, not secrets
    with _client(host) as client, ThreadPoolExecutor(slots) as pool:

        def ask(prompt: list[int]) -> int:
            sent = {"prompt": prompt, "n_predict": _ANSWER_TOKENS, "cache_prompt": True, "n_probs": 1}
            answer = _answer(client.post("/completion", json=sent), "tokens_evaluated", "tokens_predicted")
            return int(answer["tokens_evaluated"]) + int(answer["tokens_predicted"])

        rounds = []
        for _ in range(_ROUNDS):
            prompts = [[stream.randrange(vocabulary) for _ in range(length)] for length in lengths]
            rounds.append(sum(pool.map(ask, prompts)))
    return sum(rounds[:-1])


def fill_batch(host: EngineHost, rows: int, context_tokens: int) -> None:
    """Ask transformers for a batch of so many rows, whose prompts leave their context only room to answer.

    Raises:
        BadResponse: the rows were not computed as one batch, or not at once.
    """
    stream = random.Random(2025)  # noqa: S311 - as above
    with _client(host) as client, ThreadPoolExecutor(rows) as pool:

        def ask(text: str) -> None:
            sent = {
                "messages": [{"role": "user", "content": text}],
                "temperature": 0.0,
                "top_p": 1.0,
                "top_k": 0,
                "max_new_tokens": _ANSWER_TOKENS,
                "seed": 1,
                "stop": [],
                "logprobs": True,
            }
            _answer(client.post("/complete", json=sent), "prompt_tokens")

        for _ in range(_TRIES):
            texts = [_text_of(client, stream, context_tokens - _ANSWER_TOKENS) for _ in range(rows)]
            list(pool.map(ask, texts))
            health = _answer(client.get("/health"), "largest_batch", "halvings")
            if health["halvings"]:
                raise BadResponse(f"{rows} rows of {context_tokens} tokens did not fit at once")
            if health["largest_batch"] == rows:
                return
    raise BadResponse(f"{rows} rows of {context_tokens} tokens were not computed as one batch")


def _text_of(client: httpx.Client, stream: random.Random, n_tokens: int) -> str:
    """Return words that come to nearly so many tokens in the model's template, and never to more."""

    def count(words: list[str]) -> int:
        body = {"messages": [{"role": "user", "content": " ".join(words)}]}
        return int(_answer(client.post("/count", json=body), "prompt_tokens")["prompt_tokens"])

    words = [str(stream.randrange(10, 100)) for _ in range(n_tokens)]  # a token each, at least
    while (n_now := count(words)) > n_tokens and len(words) > 1:
        words = words[: max(1, min(len(words) - 1, len(words) * n_tokens // n_now))]
    return " ".join(words)


def _client(host: EngineHost) -> httpx.Client:
    headers = {"Authorization": f"Bearer {host.state.token}"}
    return httpx.Client(base_url=str(host.state.url), headers=headers, timeout=_TIMEOUT_S)


def _answer(answer: httpx.Response, *wanted: str) -> Mapping[str, Any]:
    """Return what was answered.

    Raises:
        BadResponse: something that was wanted is not in it.
    """
    try:
        body: Mapping[str, Any] = answer.json()
        if all(name in body for name in wanted):
            return body
    except (ValueError, TypeError):
        pass
    raise BadResponse(f"the engine answered {answer.text[:200]}")
