"""Asking a model that somebody else serves: patient where that helps, and never twice as loud."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from overnight.engines.openai.asking import sampling_fields
from overnight.engines.openai.connection import Connection
from overnight.engines.openai.dialects import FACTS
from overnight.engines.openai.pacing import Gate, Pace, back_off_s
from overnight.engines.openai.problems import Problem
from overnight.engines.openai.replies import counted_tokens, not_served, read_completion, served_models
from overnight.engines.protocol import Completion
from overnight.engines.state import EngineState, read_state
from overnight.errors import (
    BadResponse,
    ContextOverflow,
    EngineCrashed,
    EngineError,
    EngineRefused,
    EngineUnavailable,
    ModelNotFound,
)
from overnight.planning.requests import Request
from overnight.spec.engine_openai import Endpoint, OpenAISettings
from overnight.spec.model import ModelSpec

_LOG = logging.getLogger(__name__)
_TEMPLATE_TOKENS = 64  # what a chat template adds to two messages, generously
_LONGEST_LOOK_S = 5.0
# State files of engines that give no log-probabilities: asked for once in a run, not once in a trial.
_WITHOUT_LOGPROBS: set[Path] = set()


class OpenAIEngine:
    """A client of the server that a model's ``endpoint`` names; the holder's state file is at ``state_path``."""

    def __init__(
        self,
        state_path: Path,
        model: ModelSpec,
        *,
        settings: OpenAISettings,
        concurrency: int,
        timeout_s: float,
        startup_timeout_s: float,
        first_wait_s: float = 1.0,
        random_numbers: random.Random | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            state_path: of the holder.
            model: with its endpoint.
            settings: how patiently.
            concurrency: requests under way at best.
            timeout_s: of one try.
            startup_timeout_s: how long ``recover`` waits for the server.
            first_wait_s: the bound of the first wait after a failure.
            random_numbers: of the jitter; None takes fresh ones.
        """
        if model.endpoint is None:
            raise TypeError(f"model {model.name} has no endpoint")
        self._state_path = state_path
        self._endpoint: Endpoint = model.endpoint
        self._model = model
        self._facts = FACTS[self._endpoint.dialect]
        self._settings = settings
        self._startup_timeout_s = startup_timeout_s
        self._first_wait_s = first_wait_s
        self._random = random_numbers or random.Random()  # noqa: S311 - jitter is no secret
        self.pace = Pace(most=concurrency, per_minute=settings.requests_per_minute)
        self._gate = Gate(self.pace)
        self._connection = Connection(self._endpoint, model.name, timeout_s=timeout_s)
        self._state: EngineState | None = None
        self._counts_tokens = self._facts.tokenize_path is not None

    async def complete(self, request: Request) -> Completion:
        """Return the answer to one request; see ``Engine``.

        Raises:
            RateLimited: the server still asked to be called later when our patience ended.
            EngineRefused: the key or the account is not accepted; asking again changes nothing.
            ModelNotFound: it is not served there any more.
        """
        if request.logprobs and not self._facts.gives_logprobs:
            self._note_no_logprobs(f"dialect {self._endpoint.dialect.value} has none")
        counted = await self._require_room(request)
        body, sent, latency_s = await self._answer(request)
        with_logprobs = self._gives_logprobs and "logprobs" in sent
        completion = read_completion(
            body,
            with_logprobs=with_logprobs,
            latency_s=latency_s,
            sent=sent,
            with_steps=with_logprobs and (request.tokens or sent.get("top_logprobs") == request.alternatives),
        )
        if request.alternatives:
            return replace(completion, counted_tokens=counted)
        if with_logprobs and completion.token_logprobs is None and completion.completion_tokens:
            self._note_no_logprobs("it answers without them")
        evaluated = completion.prompt_tokens
        if counted is not None and evaluated is not None and evaluated < counted:
            raise BadResponse(
                f"the server evaluated {evaluated} of the prompt's {counted} tokens: it shortened the question"
            )
        return completion

    async def recover(self) -> None:
        """Return when the server answers again; see ``Engine``."""
        self._state = None  # connections stay: the requests of others may be well
        deadline = time.monotonic() + self._startup_timeout_s
        look_s = 0.1
        while True:
            found = await self._connection.send("GET", "/models")
            if not isinstance(found, Problem):
                return
            if found.kind is EngineRefused:
                raise found.error()
            if time.monotonic() + look_s > deadline:
                raise EngineCrashed(
                    f"{self._endpoint.base_url} did not answer within {self._startup_timeout_s:g} s: {found.message}"
                )
            await asyncio.sleep(look_s)
            look_s = min(_LONGEST_LOOK_S, 2 * look_s)

    async def close(self) -> None:
        """Give connections back."""
        self._state = None
        await self._connection.close()

    @property
    def _gives_logprobs(self) -> bool:
        return self._facts.gives_logprobs and self._state_path not in _WITHOUT_LOGPROBS

    def _note_no_logprobs(self, why: str) -> None:
        if self._state_path not in _WITHOUT_LOGPROBS:
            _WITHOUT_LOGPROBS.add(self._state_path)
            _LOG.warning(
                "%s gives no log-probabilities: %s; answers of this run have no confidence",
                self._model.name,
                why,
            )

    async def _answer(self, request: Request) -> tuple[Mapping[str, Any], dict[str, Any], float]:
        """Return the body of an answer, what was sent for it, and the seconds that it took, waiting left out."""
        began: float | None = None  # when it was first sent
        attempt, tried_s = 0, 0.0
        while True:
            sent = sampling_fields(self._facts, request, with_logprobs=self._gives_logprobs)
            body = {"model": self._model.served_name, "messages": list(request.messages), **sent}
            async with self._gate.turn(max(0.0, self._settings.patience_s - tried_s)) as started:
                began = began or started
                posted = time.perf_counter()
                found = await self._connection.send("POST", "/chat/completions", body)
                latency_s = time.perf_counter() - posted
                if not isinstance(found, Problem):
                    self._gate.answered()
                    return found, sent, latency_s
                if found.is_about_logprobs and request.alternatives:
                    request = replace(
                        request, alternatives=0
                    )  # it may give fewer; this says nothing of the others
                    continue
                if found.is_about_logprobs and "logprobs" in sent:
                    self._note_no_logprobs(f"it refuses to ({found.message})")
                    continue
                attempt += 1
                wait_s = self._wait_s(found, attempt)
                if found.slows_down:
                    self._gate.refused(started=started, wait_s=wait_s)
            tried_s = time.monotonic() - began
            await self._require_patience(found, attempt, tried_s, wait_s)
            if not found.slows_down:
                await asyncio.sleep(wait_s)

    def _wait_s(self, problem: Problem, attempt: int) -> float:
        own = back_off_s(attempt, self._random, first_s=self._first_wait_s)
        return own if problem.wait_s is None else problem.wait_s

    async def _require_patience(self, problem: Problem, attempt: int, tried_s: float, wait_s: float) -> None:
        if problem.kind is ModelNotFound:
            raise await self._model_not_found(problem)
        if not problem.may_pass:
            raise problem.error()
        if attempt >= self._settings.attempts:
            raise problem.error(
                f"; tried {attempt} times in {tried_s:.0f} s (execution.engine.openai.attempts)"
            )
        if tried_s + wait_s > self._settings.patience_s:
            raise problem.error(
                f"; wants another {wait_s:.0f} s after {tried_s:.0f} s, which is more than "
                f"execution.engine.openai.patience_s, {self._settings.patience_s:g}"
            )

    async def _model_not_found(self, problem: Problem) -> EngineError:
        listed = await self._connection.send("GET", "/models")
        if isinstance(listed, Problem):
            return problem.error()
        names = list(served_models(listed))
        return ModelNotFound(not_served(self._model.served_name, names, self._endpoint.base_url))

    async def _require_room(self, request: Request) -> int | None:
        """Refuse a prompt that does not fit; return its tokens by the server's own count, where it was needed.

        A token is at least one byte, which settles it for most prompts; where that leaves it open and the server has
        no tokenizer to ask, the server decides.
        """
        context = self._connected().context_tokens
        room = context - request.max_new_tokens
        bound = sum(len(m["content"].encode("utf-8", "replace")) for m in request.messages) + _TEMPLATE_TOKENS
        if (bound <= room and not request.alternatives) or not self._counts_tokens:
            return None
        counted = await self._count(request)
        if counted is not None and counted > room:
            raise ContextOverflow(
                f"the prompt has {counted} tokens and its answer up to {request.max_new_tokens}, the server's "
                f"context holds {context}; serve a longer one or shorten the prompt"
            )
        return counted

    async def _count(self, request: Request) -> int | None:
        name, messages = self._model.served_name, list(request.messages)
        body: dict[str, Any] = {"model": name, "messages": messages}
        if self._facts.template_path is not None:
            found = await self._connection.send_beside(self._facts.template_path, body)
            prompt = found.get("prompt") if isinstance(found, dict) else None
            body = {"model": name, "content": prompt, "add_special": True, "parse_special": True}
        path = self._facts.tokenize_path or ""
        found = await self._connection.send_beside(path, body)
        counted = None if isinstance(found, Problem) else counted_tokens(found)
        if counted is None:
            if isinstance(found, Problem) and found.kind is EngineUnavailable:
                raise found.error()
            self._counts_tokens = False
            _LOG.warning(
                "%s: %s of its server does not count tokens; a prompt that is too long is found by the server alone",
                self._model.name,
                path,
            )
        return counted

    def _connected(self) -> EngineState:
        if self._state is None:
            state = read_state(self._state_path)
            if state.status != "serving":
                raise EngineUnavailable(f"the engine is {state.status}")
            self._state = state
        return self._state
