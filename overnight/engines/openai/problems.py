"""What a server's refusal means: the only place that reads the texts of its errors."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overnight.engines.answer_values import read_body
from overnight.engines.openai.pacing import retry_after_s
from overnight.errors import (
    BadResponse,
    ContextOverflow,
    EngineError,
    EngineRefused,
    EngineUnavailable,
    ModelNotFound,
    RateLimited,
)

OK = 200
_UNAUTHORIZED = 401
_PAYMENT_REQUIRED = 402
_FORBIDDEN = 403
_NOT_FOUND = 404
_TIMED_OUT = 408
_TOO_LARGE = 413
_TOO_MANY = 429
_FAILING = 500
_AWAY = frozenset({502, 503, 504, 520, 521, 522, 523, 524, 529})
_REFUSED_FIELD = frozenset({400, 403, 422, 501})
_ABOUT_ACCOUNTS = frozenset({403, 412, 429})
_SHOWN = 200  # characters of a server's own words
_SHORTEN = "shorten the prompt, lower max_new_tokens, or serve a longer context"

# OpenAI: context_length_exceeded; llama-server: exceed_context_size_error; vLLM and many others: "maximum context
# length", older "maximum model length"; Fireworks: "The prompt is too long: N, model maximum context length: M";
# LM Studio: "Trying to keep the first N tokens when context the overflows", "Reached context length", "Context size has
# been exceeded". The last but one: more than an account may send in a minute, which no waiting mends.
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum (context|model|input) length|prompt is too long"
    r"|available context size|context size has been exceeded|keep the first \d+ tokens|reached context length"
    r"|exceeds? (the )?(model's )?(maximum )?context (length|window|size)|request too large"
    r"|max_tokens must be at least 1, got -",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(
    r"insufficient[_ ](quota|balance|funds|credit)|exceeded your current quota|billing[_ ]hard[_ ]limit"
    r"|out of credits?|account .{0,40}suspended",
    re.IGNORECASE,
)
_NO_SUCH_MODEL = re.compile(
    r"model.{0,200}(not found|does not exist|not exist|not loaded|unknown)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why there is no answer, and what may be done about it."""

    kind: type[EngineError]
    message: str
    may_pass: bool = False  # asking again, later, may help
    slows_down: bool = False  # all requests should wait, not this one alone
    wait_s: float | None = None  # what the server asks for
    is_about_logprobs: bool = False

    def error(self, suffix: str = "") -> EngineError:
        """Return the problem as an error."""
        return self.kind(f"{self.message}{suffix}")


def judge(status: int, headers: Mapping[str, str], text: str, *, key_from: str | None) -> Problem:
    """Return what the refusal of a request means.

    Args:
        status: of the answer, not 200.
        headers: of the answer, in lower case.
        text: of the answer; the key was taken out.
        key_from: the environment variable of the key, None where none is sent.
    """
    said = _Said.read(text)
    if said.is_about_logprobs and status in _REFUSED_FIELD:  # before the status itself: some say 403
        return Problem(kind=BadResponse, message=f"HTTP {status}: {said.short}", is_about_logprobs=True)
    return _lasting(status, said, key_from) or _passing(status, said, headers)


def _lasting(status: int, said: "_Said", key_from: str | None) -> Problem | None:
    """Return a problem that asking again does not mend; None for another one."""
    shown = f"HTTP {status}: {said.short}"
    if status == _PAYMENT_REQUIRED or (status in _ABOUT_ACCOUNTS and _NO_CREDIT.search(said.whole)):
        message = f"the account has no credit left ({shown}); add some, then resume the run"
        return Problem(kind=EngineRefused, message=message)
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        return Problem(kind=EngineRefused, message=_refused_key(status, said.short, key_from))
    if status == _TOO_LARGE or _TOO_LONG.search(said.whole):
        return Problem(kind=ContextOverflow, message=f"{shown}; {_SHORTEN}")
    if status == _NOT_FOUND and _NO_SUCH_MODEL.search(said.whole):
        return Problem(kind=ModelNotFound, message=shown)
    return None


def _passing(status: int, said: "_Said", headers: Mapping[str, str]) -> Problem:
    """Return a problem that may pass where the status says so, and a bad response otherwise."""
    shown = f"HTTP {status}: {said.short}"
    if status == _TOO_MANY:
        wait_s = retry_after_s(headers)
        return Problem(kind=RateLimited, message=shown, may_pass=True, slows_down=True, wait_s=wait_s)
    if status == _TIMED_OUT or status >= _FAILING:
        wait_s = retry_after_s(headers)
        kind = EngineUnavailable if status in _AWAY else BadResponse
        return Problem(kind=kind, message=shown, may_pass=True, slows_down=wait_s is not None, wait_s=wait_s)
    return Problem(kind=BadResponse, message=shown)


def error_in(body: Mapping[str, Any]) -> Problem | None:
    """Return the problem that an answer with status 200 holds in place of choices, as LM Studio does; else None."""
    if "choices" in body or "error" not in body:
        return None
    said = _Said.read(json.dumps(body, ensure_ascii=False))
    if _TOO_LONG.search(said.whole):
        return Problem(kind=ContextOverflow, message=f"{said.short}; {_SHORTEN}")
    return Problem(kind=BadResponse, message=said.short)


def without_key(text: str, key: str | None) -> str:
    """Return a text without the key, should the server have repeated it."""
    return text.replace(key, "***") if key else text


def _refused_key(status: int, said: str, key_from: str | None) -> str:
    if key_from is None:
        return f"HTTP {status}: the server wants a key; name its environment variable in endpoint.api_key_env"
    if status == _UNAUTHORIZED:  # without its words, which may repeat parts of the key
        return f"HTTP {status}: the server does not accept the key in {key_from}; correct that environment variable"
    return f"HTTP {status}: the server refuses the key in {key_from}: {said}"


@dataclass(frozen=True, slots=True)
class _Said:
    """What the body of an error says."""

    whole: str  # its message, code, type and parameter
    short: str  # its message, on one line and not too long
    is_about_logprobs: bool

    @classmethod
    def read(cls, text: str) -> "_Said":
        try:
            value = read_body(text)
        except ValueError:
            value = text
        found = value.get("error", value) if isinstance(value, dict) else value
        fields = found if isinstance(found, dict) else {}
        message = (fields.get("message") or fields.get("detail") or fields) if fields else found
        line = " ".join(
            (message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)).split()
        )
        short = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
        codes = [str(fields[name]) for name in ("code", "type", "param") if fields.get(name) is not None]
        # Only where it is the subject: a server that repeats the whole request repeats this field as well.
        return cls(" ".join([line, *codes]), short, "logprob" in " ".join([short, *codes]).lower())
