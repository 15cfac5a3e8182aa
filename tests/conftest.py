import os
from pathlib import Path

import pytest
from hypothesis import settings

from overnight.store.content_store import cache_folder

_USERS_CACHE = cache_folder()  # before any test changes the environment

# A busy machine is no failure; what takes too long shows in `pytest --durations`. The examples are the same in
# every run, so that a change is judged by what it changes; HYPOTHESIS_PROFILE=explore draws new ones.
settings.register_profile("overnight", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=300)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "overnight"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test caches of its own: none finds what another, or the user, has made."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("OVERNIGHT_CACHE_DIR", str(cache))
    return cache


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a user's configuration of its own, with nothing in it."""
    config = tmp_path / "user-config"
    monkeypatch.setenv("OVERNIGHT_CONFIG_DIR", str(config))
    return config


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """Return the user's own cache: a model is downloaded once a machine, not once a test."""
    return _USERS_CACHE


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of public data sets that lies beside the checkout, or skip."""
    named = os.environ.get("OVERNIGHT_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder}: no public data sets here; name their folder in OVERNIGHT_TEST_DATA")
    return folder
