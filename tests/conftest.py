from pathlib import Path

import pytest
from hypothesis import settings

from overnight.store.content_store import cache_folder

_USERS_CACHE = cache_folder()  # before any test changes the environment

# A busy machine is no failure; what takes too long shows in `pytest --durations`.
settings.register_profile("overnight", deadline=None)
settings.load_profile("overnight")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test caches of its own: none finds what another, or the user, has made."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("OVERNIGHT_CACHE_DIR", str(cache))
    return cache


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """Return the user's own cache: a model is downloaded once a machine, not once a test."""
    return _USERS_CACHE
