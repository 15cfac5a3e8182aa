"""Which server, of which version, and under which names it knows a model."""

import os
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from overnight.spec.engine_ollama import OllamaSettings

# Older servers do not count the part of a prompt that was cached (ollama/ollama#5371), so that a prompt that they
# shortened cannot be told from one that they had.
OLDEST = (0, 3, 0)
_LOGPROBS_SINCE = (0, 12, 11)
# llama-server's own count, without the cached part, came through at first (ollama/ollama#16428).
_COUNTS_THE_NEW_PART_ONLY = (0, 30)
_LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - read, not bound


class ServerVersion(NamedTuple):
    """What ``/api/version`` says, in numbers; a build from source says 0.0.0 and is taken for the newest."""

    major: int
    minor: int
    patch: int

    @property
    def is_supported(self) -> bool:
        """True where its counts can be trusted."""
        return self.is_source_build or self >= OLDEST

    @property
    def has_logprobs(self) -> bool:
        """True where log-probabilities of the generated tokens can be asked for."""
        return self.is_source_build or self >= _LOGPROBS_SINCE

    @property
    def counts_whole_prompts(self) -> bool:
        """True where ``prompt_eval_count`` holds the tokens that came out of the cache, too."""
        return self[:2] != _COUNTS_THE_NEW_PART_ONLY

    @property
    def is_source_build(self) -> bool:
        """True where there is no number to go by."""
        return self == (0, 0, 0)

    def __str__(self) -> str:
        return ".".join(map(str, self))


def parse_version(text: str) -> ServerVersion:
    """Return a version's numbers; what stands behind them (``-rc1``) is left out.

    Raises:
        ValueError: there are none.
    """
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    if not found:
        raise ValueError(f"version {text!r}")
    return ServerVersion(*map(int, found.groups()))


def address(settings: OllamaSettings) -> str:
    """Return where the server is, as it was written: the config, then ``OLLAMA_HOST``, then the usual place."""
    return settings.host or os.environ.get("OLLAMA_HOST") or "http://127.0.0.1:11434"


def shown(host: str) -> str:
    """Return an address without the credentials that ``OLLAMA_HOST`` may hold, for messages and files."""
    parts = urlsplit(host if "://" in host else f"http://{host}")
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_here(host: str) -> bool:
    """True where the server is on this machine."""
    return urlsplit(shown(host)).hostname in _LOOPBACK


def client_options(host: str, timeout: Any) -> dict[str, Any]:
    """Return how the client is to connect; a proxy has no business between here and loopback."""
    return {"host": host, "timeout": timeout, "trust_env": not is_here(host)}


def tag_of(source: str) -> str:
    """Return the tag that a model's source names, in full: without one, Ollama takes ``:latest``."""
    tag = source.removeprefix("ollama:")
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def is_same(name: str | None, tag: str) -> bool:
    """True where a name that the server lists is the tag; it shortens names and does not mind their case."""
    if not name:
        return False
    return _canonical(name) == _canonical(tag)


def _canonical(name: str) -> str:
    full = tag_of(name).casefold()
    for default in ("registry.ollama.ai/", "library/"):
        full = full.removeprefix(default)
    return full


def bare_digest(digest: str | None) -> str | None:
    """Return a digest as 64 hexadecimal digits; servers write it with and without ``sha256:``."""
    return None if not digest else digest.removeprefix("sha256:").lower()
