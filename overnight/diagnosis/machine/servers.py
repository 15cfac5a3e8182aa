"""Servers that a run may talk to: Ollama, Prefect's API, and, where it is asked for, the hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from overnight.diagnosis.machine.check import Check, Surroundings, note, ok, problem
from overnight.diagnosis.rules.common import amount
from overnight.prefect_settings import prefect_url

_LIMIT_S = 2.5  # of each request; what answers at all answers at once
_OLLAMA_PORT = 11434
_HUB = "https://huggingface.co"
_OK, _FIRST_ERROR = 200, 400
_NOT_FOR_US = (401, 403)  # somebody is there, and wants to know who asks
_MODELS_SHOWN = 5


def check_ollama(around: Surroundings) -> list[Check]:
    """Say whether an Ollama server answers, and what it has."""
    url = ollama_url(around.environment.get("OLLAMA_HOST"))
    version = _get(f"{url}/api/version")
    if isinstance(version, str):
        return [judge_ollama(url, version, [], [])]
    tags, running = _get(f"{url}/api/tags"), _get(f"{url}/api/ps")
    return [
        judge_ollama(
            url,
            version,
            tags.get("models") or [] if isinstance(tags, dict) else [],
            running.get("models") or [] if isinstance(running, dict) else [],
        )
    ]


def ollama_url(host: str | None) -> str:
    """Return the address of the Ollama server as ``OLLAMA_HOST`` gives it: a host, a port or a URL."""
    text = (host or "").strip() or "127.0.0.1"
    text = f"127.0.0.1{text}" if text.startswith(":") else text
    parts = urlsplit(text if "://" in text else f"//{text}", scheme="http")
    name = parts.hostname or "127.0.0.1"
    name = "127.0.0.1" if name in ("0.0.0.0", "::") else name  # noqa: S104 - where a server listens is no address
    name = f"[{name}]" if ":" in name else name
    # A URL without a port is meant as the web means it; a bare host has Ollama's own.
    usual = {"http": 80, "https": 443}.get(parts.scheme, _OLLAMA_PORT) if "://" in text else _OLLAMA_PORT
    return f"{parts.scheme}://{name}:{parts.port or usual}{parts.path.rstrip('/')}"


def judge_ollama(
    url: str, version: Mapping[str, Any] | str, tags: list[dict[str, Any]], running: list[dict[str, Any]]
) -> Check:
    """Judge what a server said; one that is not there is information, since other engines need none."""
    if isinstance(version, str):
        return note(
            "ollama",
            f"no Ollama server at {_safe(url)} ({version})",
            "`ollama serve`, if a model of yours needs it",
        )
    names = sorted(str(tag.get("name")) for tag in tags)
    more = f" and {len(names) - _MODELS_SHOWN} more" if len(names) > _MODELS_SHOWN else ""
    has = f"{', '.join(names[:_MODELS_SHOWN])}{more}" if names else "no model yet (`ollama pull TAG`)"
    loaded = [f"{each.get('name')} ({amount(each.get('size') or 0, 'bytes')})" for each in running]
    text = f"Ollama {version.get('version')} at {_safe(url)}: {has}"
    values = {"version": version.get("version"), "models": names, "loaded": loaded}
    if loaded:
        return note(
            "ollama",
            f"{text}; loaded now: {', '.join(loaded)}",
            "`ollama stop TAG` gives their memory back before other engines load",
            **values,
        )
    return ok("ollama", text, **values)


def check_prefect(around: Surroundings) -> list[Check]:
    """Say which Prefect API runs would report to, and whether it answers."""
    url = prefect_url(around.environment, Path.home())
    if url is None:
        return [judge_prefect(None, None)]
    return [judge_prefect(url, _reach(f"{url.rstrip('/')}/health"))]


def judge_prefect(url: str | None, unreachable: str | None) -> Check:
    """Judge the API; a run that was told of one that does not answer does not start."""
    if url is None:
        return ok("prefect", "no API is set: each run starts its own for as long as it takes")
    if unreachable is not None:
        return problem(
            "prefect",
            f"the Prefect API at {_safe(url)} does not answer ({unreachable})",
            "`prefect server start`, or unset PREFECT_API_URL to let each run start its own",
        )
    return ok("prefect", f"the Prefect API at {_safe(url)} answers")


def check_hub(around: Surroundings) -> list[Check]:
    """Say whether the Hugging Face hub answers; asked only where the user wants that."""
    environment = around.environment
    url = environment.get("HF_ENDPOINT") or _HUB
    if environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return [ok("hub", "HF_HUB_OFFLINE is set: nothing is downloaded from the hub")]
    if not around.is_online:
        return [ok("hub", f"{_safe(url)} was not asked; --online asks it")]
    unreachable = _reach(url, trust_env=True)
    if unreachable is None:
        return [ok("hub", f"{_safe(url)} answers")]
    return [
        note(
            "hub",
            f"{_safe(url)} does not answer ({unreachable})",
            "models and datasets that are here already still run; HF_HUB_OFFLINE=1 spares the waiting",
        )
    ]


def _get(url: str) -> dict[str, Any] | str:
    """Return the JSON object at an address, or why there is none."""
    try:
        response = httpx.get(url, timeout=_LIMIT_S, trust_env=False)
        value = response.json() if response.status_code == _OK else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return type(error).__name__
    return value if isinstance(value, dict) else f"HTTP {response.status_code}"


def _reach(url: str, *, trust_env: bool = False) -> str | None:
    """Return None where somebody answers, and be it that we may not come in; else why not."""
    try:
        response = httpx.get(url, timeout=_LIMIT_S, trust_env=trust_env, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
    status = response.status_code
    return f"HTTP {status}" if status >= _FIRST_ERROR and status not in _NOT_FOR_US else None


def _safe(url: str) -> str:
    """Return an address without the user and the password that may stand in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
