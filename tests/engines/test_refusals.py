"""What can be refused on any machine: a GPU that somebody asked for, and one that the driver has and no library."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from overnight.engines import host as hosting
from overnight.engines.host import EngineHost, HostSettings
from overnight.engines.placement import Placement
from overnight.errors import GpuUnusable
from overnight.memory.free import free_devices
from overnight.telemetry.environment import gpus

pytestmark = pytest.mark.skipif(
    bool(gpus()) or bool(free_devices()), reason="there is a GPU here, which is used"
)
TRANSFORMERS = {
    "dtype": "float32", "bits": None, "device": None, "attention": None, "trust_remote_code": False,
    "batch_invariant": True, "batch_tokens": 256,
}  # fmt: skip


def held(tmp_path: Path, weights: Path, engine: str, **options: Any) -> EngineHost:
    """Return a host of a model that is not loaded yet."""
    plain = TRANSFORMERS if engine == "transformers.host" else {"gpu_layers": -1, "batch_invariant": None}
    settings = HostSettings(
        module=f"overnight.engines.{engine}", model_path=weights, slots=1, context_tokens=256, threads=1,
        options=plain | options, startup_timeout_s=120,
    )  # fmt: skip
    return EngineHost(settings, tmp_path / "engines", "m")


def test_layers_on_a_gpu_that_is_not_there_are_refused(tmp_path: Path, weights: Path) -> None:
    with (
        held(tmp_path, weights, "llama_cpp_host", gpu_layers=20) as host,
        pytest.raises(GpuUnusable, match=r"gpu_layers: 20 asks for a GPU.*xllamacpp \S+ finds none"),
    ):
        host.start()


def test_a_build_for_the_processor_is_refused_where_the_driver_has_a_gpu(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The GPU is made up; what xllamacpp sees of it, which is nothing, is not.
    monkeypatch.setattr(hosting, "free_devices", lambda: (SimpleNamespace(name="A card"),))
    with (
        held(tmp_path, weights, "llama_cpp_host") as host,
        pytest.raises(GpuUnusable, match=r"a GPU \(A card\), and xllamacpp .*pip install"),
    ):
        host.start()
    with held(tmp_path, weights, "llama_cpp_host", may_offload=True, memory_margin=None) as host:
        host.start()
        assert host.state.placement == Placement().as_row()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no torch")
def test_torch_is_held_to_the_same_rule(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Refused before anything is read: what lies in the folder does not matter.
    with (
        held(tmp_path, weights.parent, "transformers.host", device="cuda") as host,
        pytest.raises(GpuUnusable, match=r"device: cuda asks for a GPU.*torch \S+ finds none"),
    ):
        host.start()
    monkeypatch.setattr(hosting, "free_devices", lambda: (SimpleNamespace(name="A card"),))
    with (
        held(tmp_path, weights.parent, "transformers.host") as host,
        pytest.raises(GpuUnusable, match=r"a GPU \(A card\), and torch .*pytorch\.org"),
    ):
        host.start()
