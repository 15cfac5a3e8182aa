"""Where a model may lie: real fields of the engines, made-up machines."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ollama import ProcessResponse

from overnight.engines import host as hosting
from overnight.engines.holding import host_settings
from overnight.engines.host import EngineHost, HostSettings
from overnight.engines.llama_cpp_layers import place
from overnight.engines.ollama.placement import require_gpu
from overnight.engines.placement import Placement
from overnight.errors import EngineError, GpuUnusable, OutOfMemory
from overnight.memory.estimate import Place
from overnight.memory.facts import LayerFacts, ModelFacts, TensorFacts
from overnight.memory.layers import most_layers, n_layers
from overnight.memory.llama_cpp_estimate import LlamaCppSettings, estimate_llama_cpp
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import EngineKind, ModelSpec

GIB = 2**30
CARD = "NVIDIA H100"
FACTS = ModelFacts(  # eight blocks of a gibibyte
    path=Path("m.gguf"),
    file_format="gguf",
    architecture="llama",
    tensors=tuple(
        TensorFacts(name=name, n_elements=GIB, n_bytes=GIB, n_rows=1, stored_as="F16")
        for name in (
            "token_embd.weight",
            *(f"blk.{n}.ffn_up.weight" for n in range(8)),
            "output.weight",
        )
    ),
    layers=(LayerFacts(kv_heads=1, k_dim=1, v_dim=1),) * 8,
    heads=1,
    hidden_size=1,
    ffn_size=1,
    vocab_size=1,
    trained_context=512,
    sliding_window=None,
)
HOW = LlamaCppSettings(slots=1, context_tokens=256)


def on_llama_cpp(gpus: int = 0, *, there: int = 0, free: int = 80 * GIB, **settings: Any) -> Placement:
    """Return where llama.cpp would put eight blocks, with GPUs that it sees and GPUs that the driver has."""
    plain = {
        "gpu_layers": -1,
        "gpus_there": [CARD] * there,
        "model_path": "m.gguf",
        "slots": 1,
        "context_tokens": 256,
        "memory_margin": 0.0,
    }
    return place(plain | settings, library="xllamacpp 1", gpus=[(CARD, free)] * gpus, kv_type="f16")


@pytest.fixture(autouse=True)
def facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overnight.engines.llama_cpp_layers.read_facts", lambda _: FACTS)


def test_a_machine_without_a_gpu_offloads_nothing() -> None:
    assert on_llama_cpp() == Placement()
    assert on_llama_cpp().label == "on the processor"


def test_all_of_a_model_is_its_blocks_and_its_output() -> None:
    # llama.cpp says "offloaded 9/9 layers to GPU" of eight blocks (llama-model.cpp, load_tensors).
    assert n_layers(FACTS) == 9
    found = on_llama_cpp(1, there=1)
    assert (found.gpu_layers, found.layers, found.label) == (9, 9, f"on {CARD}")
    assert on_llama_cpp(1, there=1, gpu_layers=999) == found


def test_a_build_that_cannot_use_the_gpu_is_refused_with_what_to_install() -> None:
    # Before a night is spent on the processor: llama.cpp itself says nothing.
    with pytest.raises(
        GpuUnusable, match=r"there is a GPU \(NVIDIA H100\), and xllamacpp 1 .*pip install xllam"
    ):
        on_llama_cpp(there=1)
    assert on_llama_cpp(there=1, gpu_layers=0) == Placement()  # the processor was asked for
    assert on_llama_cpp(there=1, may_offload=True) == Placement()


def test_layers_that_were_asked_for_want_a_gpu_even_where_the_processor_is_allowed() -> None:
    with pytest.raises(GpuUnusable, match=r"execution\.engine\.gpu_layers: 20 asks for a GPU.* finds none"):
        on_llama_cpp(gpu_layers=20)
    with pytest.raises(GpuUnusable, match=r"take out execution\.engine\.gpu_layers: 20 and set"):
        on_llama_cpp(there=1, gpu_layers=20, may_offload=True)


def test_some_layers_on_the_gpu_are_what_somebody_asked_for_and_are_said_so() -> None:
    found = on_llama_cpp(1, there=1, gpu_layers=3)
    assert found.is_split
    assert found.label == f"on {CARD}: 3 of 9 layers, the rest on the processor"


@pytest.mark.parametrize("n_fitting", [0, 1, 5, 8, 9])
def test_where_it_is_allowed_as_many_layers_go_onto_the_gpu_as_fit(n_fitting: int) -> None:
    needed = estimate_llama_cpp(FACTS, LlamaCppSettings(slots=1, context_tokens=256, gpu_layers=n_fitting))
    room = needed.on(Place.DEVICE) or 0
    assert most_layers(FACTS, HOW, room, 0.0) == n_fitting
    assert most_layers(FACTS, HOW, room - 1, 0.0) == max(0, n_fitting - 1)
    found = on_llama_cpp(1, there=1, free=room, may_offload=True)
    assert (found.gpu_layers or 0) == n_fitting
    assert bool(found.devices) is (n_fitting > 0)


def test_memory_that_spills_over_without_a_word_is_switched_off_unless_allowed(monkeypatch) -> None:
    # ggml-cuda.cu takes managed memory wherever the variable is set, to whatever.
    monkeypatch.setenv("GGML_CUDA_ENABLE_UNIFIED_MEMORY", "0")
    on_llama_cpp(1, there=1, may_offload=True)
    assert "GGML_CUDA_ENABLE_UNIFIED_MEMORY" in os.environ
    on_llama_cpp(1, there=1)
    assert "GGML_CUDA_ENABLE_UNIFIED_MEMORY" not in os.environ


def test_a_placement_survives_its_file() -> None:
    for found in (Placement(), on_llama_cpp(1, there=1, gpu_layers=3)):
        assert Placement.from_row(found.as_row()) == found


def loaded(size: int, on_gpu: int) -> ProcessResponse.Model:
    return ProcessResponse.Model(model="m:8b", size=size, size_vram=on_gpu)


@pytest.mark.parametrize(
    ("on_gpu", "beside", "settings", "error"),
    [
        (6, 0, {}, OutOfMemory),
        (8, 0, {}, None),
        (0, 0, {}, None),  # no GPU that anybody knows of
        (0, 4, {}, OutOfMemory),  # another model lies on one
        (6, 0, {"cpu_offload": "allow"}, None),
        (6, 0, {"gpu_layers": 20}, None),  # as many as were asked for
        (0, 0, {"gpu_layers": 20}, GpuUnusable),
        (0, 4, {"gpu_layers": 0}, None),
    ],
)
def test_ollama_is_held_to_the_same_rule(
    on_gpu: int, beside: int, settings: dict[str, Any], error: type[EngineError] | None
) -> None:
    model = loaded(8 * GIB, on_gpu * GIB)

    def judge() -> None:
        require_gpu(
            model, [model, loaded(4 * GIB, beside * GIB)], "http://far:11434", EngineSettings(**settings)
        )

    if error is None:
        judge()
        return
    with pytest.raises(error, match="m:8b"):
        judge()


def test_the_refusal_says_how_much_would_be_on_the_processor() -> None:
    model = loaded(8 * GIB, 6 * GIB)
    with pytest.raises(
        OutOfMemory, match=r"2\.0 of 8\.0 GiB do not fit.*execution\.engine\.cpu_offload: allow"
    ):
        require_gpu(model, [model], "http://far:11434", EngineSettings())


HOST = """
import json, sys
settings = json.loads(sys.stdin.readline())
print({said}, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a maker of hosts whose process says one line, on a machine with one GPU."""
    monkeypatch.setattr(hosting, "free_devices", lambda: (SimpleNamespace(name=CARD),))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    def make(said: str) -> EngineHost:
        (tmp_path / "made_up_host.py").write_text(HOST.format(said=said), encoding="utf-8")
        settings = HostSettings(
            module="made_up_host", model_path=Path("m.gguf"), slots=1, context_tokens=256, threads=1,
            options={}, startup_timeout_s=20,
        )  # fmt: skip
        return EngineHost(settings, tmp_path / "engines", "m")

    return make


@pytest.mark.parametrize(("kind", "error"), [("GpuUnusable", GpuUnusable), ("OutOfMemory", OutOfMemory)])
def test_what_a_host_refuses_is_what_its_parent_raises(held_by, kind: str, error: type[EngineError]) -> None:
    # Out of memory is what the ladder steps down for; nothing else is.
    with (
        held_by(
            f"json.dumps({{'refused': '{kind}', 'message': 'why ' + settings['gpus_there'][0]}})"
        ) as host,
        pytest.raises(error, match=f"m.gguf: why {CARD}"),
    ):
        host.start()


def test_a_host_says_where_the_model_lies(held_by) -> None:
    row = Placement(devices=(CARD,), gpu_layers=3, layers=9).as_row()
    with held_by(f"json.dumps({{'url': 'u', 'load_s': 1.0, 'placement': {row!r}}})") as host:
        host.start()
        assert Placement.from_row(host.state.placement).label.endswith(
            "3 of 9 layers, the rest on the processor"
        )


@pytest.mark.parametrize("engine", [EngineKind.LLAMA_CPP, EngineKind.TRANSFORMERS])
def test_hosts_are_told_only_where_the_processor_is_allowed(engine: EngineKind) -> None:
    # Rates that were measured before the setting was there are still those of its default.
    model = ModelSpec(
        name="m",
        engine=engine,
        source="/m",
        family="f",
        params_billion=1,
        quantization="bf16",
        context_tokens=512,
    )

    def options(offload: str) -> dict[str, Any]:
        execution = Execution.model_validate({"engine": {"cpu_offload": offload}})
        return dict(host_settings(model, Path("m"), 256, execution).options)

    assert "may_offload" not in options("refuse")
    assert options("allow")["may_offload"] is True
