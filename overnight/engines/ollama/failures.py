"""From what Ollama and its HTTP client say to what it means: the one place that reads Ollama's messages."""

import contextlib
from collections.abc import Iterable, Iterator

import httpx
from ollama import ResponseError

from overnight.engines.ollama.server import shown
from overnight.errors import (
    BadResponse,
    ContextOverflow,
    EngineError,
    EngineUnavailable,
    ModelNotFound,
    OutOfMemory,
    RateLimited,
)

_NOT_FOUND = 404
_BUSY = (429, 503)
_AWAY = (502, 504)
_ABSENT = ("try pulling it first", "file does not exist")
_MEMORY = (
    "more system memory",  # model requires more system memory (8.4 GiB) than is available (7.7 GiB)
    "out of memory",
    "insufficient memory",
    "failed to allocate",
    "unable to allocate",
    "cannot allocate memory",
    "cudamalloc failed",
    "signal: killed",  # by the kernel, which does that for one reason
)
# The process that was to hold the model is gone and did not say why; it mostly is memory that it could not have.
_RUNNER_NOT_UP = "process has terminated"
_NOT_ABOUT_MEMORY = ("unknown model architecture", "unsupported", "assert", "invalid", "missing", "corrupt")
_RUNNER_DIED = (
    "unexpectedly stopped",
    "unexpected eof",
    "connection reset",
    "connection refused",
    "forcibly closed",
)
_CONTEXT = (
    "exceed_context_size_error",
    "exceeds the available context",
    "exceeds maximum context length",
    "exceeds the context length",
    "longer than the context length",
)


def meaning(message: str, status: int, tag: str, *, is_loading: bool) -> EngineError:
    """Return the error that an answer of the server stands for.

    Args:
        message: what it says.
        status: of HTTP; -1 where the message came in a stream.
        tag: of the model that was asked for.
        is_loading: the model was not loaded yet, so that a process that died says something about its memory.
    """
    said = message.casefold()
    line = " ".join(message.split())[:300]

    def says(signs: Iterable[str]) -> bool:
        return any(sign in said for sign in signs)

    if says(_CONTEXT):
        return ContextOverflow(f"{line}; raise execution.engine.context_tokens or shorten the prompt")
    if status == _NOT_FOUND or says(_ABSENT):
        return ModelNotFound(f"Ollama has no model {tag} ({line}); get it with: ollama pull {tag}")
    died_loading = _RUNNER_NOT_UP in said or (is_loading and says(_RUNNER_DIED))
    if says(_MEMORY) or (died_loading and not says(_NOT_ABOUT_MEMORY)):
        return OutOfMemory(f"{tag} does not fit into the memory of the server: {line}")
    if status in _BUSY:
        return RateLimited(f"Ollama is busy: {line}")
    if status in _AWAY or says(_RUNNER_DIED):
        return EngineUnavailable(f"Ollama's model process is gone: {line}")
    return BadResponse(f"Ollama answered HTTP {status}: {line}")


@contextlib.contextmanager
def understood(
    host: str, tag: str, *, is_loading: bool = False, timeout_s: float, timeout_key: str | None = None
) -> Iterator[None]:
    """Turn whatever the client raises inside into an ``EngineError``.

    Raises:
        EngineError: what it means.
    """
    try:
        yield
    except ResponseError as error:
        raise meaning(str(error.error), error.status_code, tag, is_loading=is_loading) from None
    except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout):
        raise EngineUnavailable(
            f"no Ollama server at {shown(host)}; start it with: ollama serve, or name another in "
            "execution.engine.ollama.host"
        ) from None
    except httpx.TimeoutException:
        advice = f"; raise {timeout_key}" if timeout_key else ""
        raise BadResponse(f"no answer from {shown(host)} within {timeout_s:g} s{advice}") from None
    except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed by recover() meanwhile
        raise EngineUnavailable(f"Ollama broke off ({type(error).__name__})") from None
    except (ValueError, TypeError, AttributeError) as error:  # not JSON, or not of the shape that its API has
        said = " ".join(str(error).split())[:200]
        raise BadResponse(f"what {shown(host)} answered is not Ollama's: {said}") from None
