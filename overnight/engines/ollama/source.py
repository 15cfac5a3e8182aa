"""The digest of a tag, asked of the server when a run is planned."""

import httpx

from overnight.engines.ollama.connection import Server
from overnight.engines.ollama.failures import understood
from overnight.engines.ollama.server import (
    OLDEST,
    address,
    bare_digest,
    client_options,
    is_same,
    shown,
    tag_of,
)
from overnight.errors import EngineError, UsageError
from overnight.spec.engine_ollama import OllamaSettings
from overnight.spec.model import ModelSpec

_TIMEOUT_S = 10.0


def with_server_digest(spec: ModelSpec, settings: OllamaSettings) -> ModelSpec:
    """Return the model with the digest that its tag has on the server; downloads nothing.

    Ollama's digest is the sha256 of the tag's manifest: it stands for the weights, the template, the parameters and
    the system prompt of the Modelfile together.

    Raises:
        UsageError: there is no server, it is too old, or it does not have the model or has another one.
    """
    tag = tag_of(spec.source)
    host = address(settings)
    try:
        with _connected(host) as server, understood(host, tag, timeout_s=_TIMEOUT_S):
            version = server.version()
            models = server.list().models
    except EngineError as error:
        raise UsageError(f"model {spec.name}: source {spec.source}: {error}") from None
    if not version.is_supported:
        raise UsageError(
            f"model {spec.name}: Ollama {version} at {shown(host)} is too old, "
            f"{'.'.join(map(str, OLDEST))} or later is wanted; update it"
        )
    found = next((bare_digest(each.digest) for each in models if is_same(each.model, tag)), None)
    if found is None:
        if settings.pull and spec.sha256 is not None:
            return spec  # downloaded and compared before it is loaded
        raise UsageError(
            f"model {spec.name}: Ollama at {shown(host)} has no model {tag}; get it with: ollama pull {tag} (or pin "
            "its sha256 in the model's file and set execution.engine.ollama.pull)"
        )
    if spec.sha256 not in (None, found):
        raise UsageError(
            f"model {spec.name}: sha256: the config says {spec.sha256}, {tag} has {found} at {shown(host)}; "
            "correct the one that is wrong"
        )
    return spec.model_copy(update={"sha256": found})


def server_version(settings: OllamaSettings) -> str | None:
    """Return the version of the server, or None where there is none to ask."""
    host = address(settings)
    try:
        with _connected(host) as server, understood(host, "", timeout_s=_TIMEOUT_S):
            return str(server.version())
    except EngineError:
        return None


def _connected(host: str) -> Server:
    return Server(**client_options(host, httpx.Timeout(_TIMEOUT_S)))
