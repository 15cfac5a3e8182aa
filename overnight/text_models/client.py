"""Asking a text-pair host."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from overnight.engines.answer_values import finite, read_body
from overnight.engines.state import EngineState, read_state
from overnight.errors import BadResponse, EngineCrashed, EngineUnavailable, OutOfMemory
from overnight.text_models.values import PairValues
from overnight.uncertainty.relevance import Pair

_POLL_S = 0.1
_NOTICED_S = 0.5  # until whoever watches a host has seen that it died
_OK = 200
_TRIES = 3


class TextModelClient:
    """A client of a text-pair host; one that died is waited for, and asked again.

    Args:
        state_path: where the host says where it listens.
        timeout_s: the longest wait for an answer.
        startup_timeout_s: the longest wait for a host that died to come back.
    """

    def __init__(self, state_path: Path, *, timeout_s: float, startup_timeout_s: float) -> None:
        self._state_path = state_path
        self._timeout_s = timeout_s
        self._startup_timeout_s = startup_timeout_s

    def values(self, pairs: Sequence[Pair]) -> list[PairValues]:
        """Return ``[n_pairs]``: what the model says of each.

        Raises:
            OutOfMemory: not even one pair fits.
            BadResponse: no answer in time, or none that is one.
            EngineCrashed: the host died and does not come back, or dies of these pairs.
            EngineUnavailable: there is no host.
        """
        asked = json.dumps({"pairs": [list(pair) for pair in pairs]}).encode(
            "ascii"
        )  # lone surrogates survive
        for _ in range(_TRIES):
            state = self._serving()
            try:
                body = self._post(state, "/pairs", asked)
            except EngineUnavailable:
                time.sleep(_NOTICED_S)
                continue
            return _read(body, len(pairs))
        raise EngineCrashed(f"the text model died {_TRIES} times of the same {len(pairs)} pairs; see its log")

    def _post(self, state: EngineState, path: str, asked: bytes) -> dict[str, Any]:
        try:
            response = httpx.post(
                f"{state.url}{path}",
                content=asked,
                headers={"Authorization": f"Bearer {state.token}", "Content-Type": "application/json"},
                timeout=httpx.Timeout(self._timeout_s, connect=10),
                trust_env=False,  # a proxy has no business between here and loopback
            )
            value = read_body(response.content)
        except httpx.TimeoutException:
            raise BadResponse(f"the text model gave no answer within {self._timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise EngineUnavailable(f"the text model is gone ({type(error).__name__})") from None
        except ValueError:
            raise BadResponse(f"HTTP {response.status_code}, not JSON: {response.text[:200]!r}") from None
        if response.status_code == _OK and isinstance(value, dict):
            return value
        problem = value.get("error") if isinstance(value, dict) else None
        if not isinstance(problem, dict):
            problem = {}
        if problem.get("type") == "OutOfMemory":
            raise OutOfMemory(f"the text model: {problem.get('message', 'it does not fit')}")
        raise BadResponse(f"HTTP {response.status_code}: {problem.get('message', str(value)[:200])}")

    def _serving(self) -> EngineState:
        """Return the state of the host once it serves.

        Raises:
            OutOfMemory, EngineCrashed: it will not.
            EngineUnavailable: there is no host.
        """
        deadline = time.monotonic() + self._startup_timeout_s
        while True:
            state = read_state(self._state_path)
            if state.status == "serving":
                return state
            if state.status == "failed":
                kind = OutOfMemory if state.error_kind == OutOfMemory.__name__ else EngineCrashed
                raise kind(f"the text model died and cannot be loaded again: {state.error}")
            if time.monotonic() > deadline:
                raise EngineCrashed(f"the text model did not come back within {self._startup_timeout_s:g} s")
            time.sleep(_POLL_S)


def _read(body: dict[str, Any], n_pairs: int) -> list[PairValues]:
    try:
        found = [
            PairValues([finite(value, "a value of a pair") for value in values], bool(is_cut))
            for values, is_cut in zip(body["values"], body["cut"], strict=True)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise BadResponse(f"the text model answered without {error}: {str(body)[:200]}") from None
    if len(found) != n_pairs:
        raise BadResponse(f"the text model said {len(found)} things of {n_pairs} pairs")
    return found
