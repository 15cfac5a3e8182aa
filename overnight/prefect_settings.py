"""What Prefect's own settings say, read without Prefect, which takes seconds to import."""

import tomllib
from collections.abc import Mapping
from pathlib import Path


def prefect_url(environment: Mapping[str, str], home: Path) -> str | None:
    """Return the API that Prefect's settings name: the environment's, or that of the active profile."""
    if url := environment.get("PREFECT_API_URL"):
        return url
    folder = Path(environment.get("PREFECT_HOME") or home / ".prefect").expanduser()
    path = Path(environment.get("PREFECT_PROFILES_PATH") or folder / "profiles.toml").expanduser()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    active = environment.get("PREFECT_PROFILE") or profiles.get("active")
    found = (profiles.get("profiles") or {}).get(active) or {}
    url = found.get("PREFECT_API_URL")
    return None if url is None else str(url)
