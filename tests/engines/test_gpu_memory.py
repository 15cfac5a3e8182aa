"""Memory of a GPU that really runs out: what the host makes of torch's and llama.cpp's own errors."""

import asyncio
import dataclasses
import os
from pathlib import Path

import httpx
import pytest

from overnight.engines.holding import host_settings
from overnight.engines.host import EngineHost
from overnight.engines.sources import fetch
from overnight.engines.transformers.client import TransformersEngine
from overnight.errors import OutOfMemory
from overnight.planning.requests import Request
from overnight.prompting.messages import Message
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import ModelSpec

pytestmark = pytest.mark.gpu

MIB = 2**20
ROWS = 8
CONTEXT_TOKENS = 8192
LONG_ANSWER = 6000  # tokens that a row has room for; it ends with its first ones
SOON = (" ", "e", "\n", "a", "i", "o")
KEYS_AND_VALUES = 30 * 2 * 3 * 64 * 2  # bytes of a token of llama.cpp, in 16 bits

# The share is of what torch may take of the GPU; a process that wants more gets torch.OutOfMemoryError.
HOST = """
import torch
torch.cuda.set_per_process_memory_fraction({share!r}, 0)
from overnight.engines.transformers.host import main
main()
"""


@pytest.fixture(scope="module")
def gpu_bytes() -> int:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no NVIDIA GPU here")
    return torch.cuda.get_device_properties(0).total_memory


@pytest.fixture
def host_under(gpu_bytes, model_cache, tmp_path, monkeypatch):
    """Return what makes a host of a model that torch gives no more than some bytes of the GPU to."""

    def make(quantization: str, limit_bytes: int) -> EngineHost:
        name = f"host_of_{quantization}"
        (tmp_path / f"{name}.py").write_text(HOST.format(share=min(1.0, limit_bytes / gpu_bytes)))
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        fields = ConfigRoot(shipped_config()).model("smollm2-135m-instruct-q4_1").model_dump()
        changed = {"name": quantization, "engine": "transformers", "quantization": quantization}
        model = ModelSpec(**(fields | changed))
        execution = Execution(
            max_concurrent_requests=ROWS,
            engine=EngineSettings(transformers={"device": "cuda"}, startup_timeout_s=240),
        )
        settings = host_settings(model, fetch(model, model_cache).path, CONTEXT_TOKENS, execution)
        return EngineHost(dataclasses.replace(settings, module=name), tmp_path, quantization)

    return make


def _health(host: EngineHost) -> dict[str, object]:
    token = {"Authorization": f"Bearer {host.state.token}"}
    return httpx.get(f"{host.state.url}/health", headers=token, timeout=10).json()


def test_a_batch_that_does_not_fit_onto_the_gpu_is_halved(host_under) -> None:
    # Weights take 513 MiB. Room for 6100 tokens, 45 KiB each, is 270 MiB a row: one fits beside them, eight do not.
    with host_under("fp32", 1200 * MIB) as host:
        host.start()
        texts = ask(host.state_path, [f"{n} " + "elephant " * 80 for n in range(ROWS)])
        health = _health(host)
        assert health["halvings"] >= 1
        assert health["device"] == "cuda:0"
        assert host.state.restarts == 0
    assert len(texts) == ROWS
    with host_under("fp32", 8000 * MIB) as host:
        host.start()
        assert ask(host.state_path, [f"{n} " + "elephant " * 80 for n in range(ROWS)]) == texts
        assert _health(host)["halvings"] == 0


def test_weights_that_do_not_fit_onto_the_gpu_are_out_of_memory_and_fewer_bits_fit(host_under) -> None:
    limit = 420 * MIB  # 513 MiB in 32 bits, 257 MiB in 16
    with host_under("fp32", limit) as wide, pytest.raises(OutOfMemory, match=r"(?i)it said .*out of memory"):
        wide.start()
    with host_under("bf16", limit) as narrow:
        narrow.start()
        (text,) = ask(narrow.state_path, ["What is the capital of France?"], max_new_tokens=12, stop=())
    assert "Paris" in text


def test_a_context_that_is_too_large_for_the_gpu_is_out_of_memory(gpu_bytes, weights, tmp_path) -> None:
    xllamacpp = pytest.importorskip("xllamacpp")
    if not any("GPU" in str(device.get("type", "")) for device in xllamacpp.get_device_info()):
        pytest.skip("this build of llama.cpp has no GPU")
    slots = 64
    model = ConfigRoot(shipped_config()).model("smollm2-135m-instruct-q4_1")
    execution = Execution(max_concurrent_requests=slots)
    too_many = 2 * gpu_bytes // (slots * KEYS_AND_VALUES)
    settings = host_settings(model, weights, too_many, execution)
    with EngineHost(settings, tmp_path, "wide") as wide, pytest.raises(OutOfMemory, match="it said"):
        wide.start()


def ask(state_path: Path, questions: list[str], **changes) -> list[str]:
    fields = {"max_new_tokens": LONG_ANSWER, "stop": SOON} | changes

    async def answers() -> list[str]:
        engine = TransformersEngine(state_path, timeout_s=120, startup_timeout_s=240)
        requests = [
            Request(
                custom_id="d|i|control|0.0|0|closed",
                part="d_p01",
                messages=(Message(role="user", content=question),),
                temperature=0.0,
                top_p=1.0,
                top_k=50,
                seed=7,
                **fields,
            )
            for question in questions
        ]
        try:
            return [one.text for one in await asyncio.gather(*map(engine.complete, requests))]
        finally:
            await engine.close()

    return asyncio.run(answers())
