"""How a server is reached: its key out of the environment, and a client that sends it nowhere else."""

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

import httpx

from overnight.errors import UsageError
from overnight.spec.engine_openai import Endpoint

_CONNECT_S = 10


def read_key(endpoint: Endpoint, model: str) -> str | None:
    """Return the key of a server, None where none is wanted; it is read here and kept nowhere.

    Raises:
        UsageError: its environment variable is not set.
    """
    if endpoint.api_key_env is None:
        return None
    key = os.environ.get(endpoint.api_key_env, "").strip()
    if not key:
        raise UsageError(
            f"model {model}: endpoint.api_key_env: the environment variable {endpoint.api_key_env} is not set; "
            "export the key of the server in it"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(
            f"model {model}: endpoint.api_key_env: what is in the environment variable {endpoint.api_key_env} "
            "cannot be a key: it has blanks or characters beyond ASCII; export the key alone"
        )
    return key


def client_settings(endpoint: Endpoint, key: str | None, timeout_s: float) -> dict[str, Any]:
    """Return what an httpx client is made with, synchronous or not. Redirects are not followed."""
    return {
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "timeout": httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
        "limits": httpx.Limits(max_connections=None),
        "trust_env": not _is_loopback(endpoint),  # a proxy has no business between here and here
    }


def beside(endpoint: Endpoint, path: str) -> str:
    """Return the address of what a server has beside its /v1."""
    return f"{endpoint.base_url.removesuffix('/v1')}{path}"


def _is_loopback(endpoint: Endpoint) -> bool:
    host = urlsplit(endpoint.base_url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
