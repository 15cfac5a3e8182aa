"""What the host makes of its settings: a made-up xllamacpp that remembers what it was given."""

import enum
import sys
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

from overnight.engines import llama_cpp_host
from overnight.engines.transformers.prompts import PromptRenderer


class Bare:
    """A tokenizer without a template; a character is a token."""

    chat_template = None

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) for character in text]}


class DeviceType(enum.IntEnum):
    """As in xllamacpp: the text of a member is its number, and only its name says what it is."""

    GGML_BACKEND_DEVICE_TYPE_CPU = 0
    GGML_BACKEND_DEVICE_TYPE_GPU = 1
    GGML_BACKEND_DEVICE_TYPE_ACCEL = 3


def device(kind: str) -> dict[str, Any]:
    found = DeviceType[f"GGML_BACKEND_DEVICE_TYPE_{kind}"]
    return {"type": found, "description": f"a {kind}", "memory_free": 2**30, "memory_total": 2**30}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, write_gguf):
    """Return a maker of what llama.cpp is asked for, on a machine with some devices."""
    path = str(write_gguf())

    def serve(*kinds: str, **settings: Any) -> Any:
        members = SimpleNamespace(
            __version__="1",
            get_device_info=lambda: [device(kind) for kind in kinds],
            CommonParams=lambda: SimpleNamespace(
                model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
            ),
            Server=lambda params: params,
            llama_flash_attn_type=SimpleNamespace(LLAMA_FLASH_ATTN_TYPE_ENABLED="on"),
            ggml_type=SimpleNamespace(GGML_TYPE_BF16="bf16"),
        )
        monkeypatch.setitem(sys.modules, "xllamacpp", members)
        plain = {
            "model_path": path, "port": 1, "token": "t", "slots": 2, "context_tokens": 256, "threads": 3,
            "gpu_layers": -1, "batch_invariant": None, "memory_limit_bytes": None, "gpus_there": [],
            "scratch": "/run/engines",
        }  # fmt: skip
        return llama_cpp_host._serve(plain | settings)[0]

    return serve


def test_the_threads_are_those_of_prompts_and_of_answers(served) -> None:
    params = served("CPU")
    assert params.cpuparams.n_threads == params.cpuparams_batch.n_threads == 3


def test_a_gpu_is_known_by_its_name_and_an_accelerated_processor_is_none(served) -> None:
    # Without a GPU answers do not depend on the batch, which costs nothing there; on one it would.
    assert served("ACCEL", "CPU").cache_type_k == "bf16"
    on_gpu = served("GPU", "CPU")
    assert not hasattr(on_gpu, "cache_type_k")
    assert (on_gpu.n_gpu_layers, on_gpu.no_op_offload, on_gpu.fit_params) == (-1, False, False)


def test_a_model_that_is_wanted_on_the_processor_is_computed_there_alone(served) -> None:
    # Without layers on it llama.cpp still sends long prompts to a GPU, and answers depend on their length.
    params = served("GPU", "CPU", gpu_layers=0)
    assert (params.n_gpu_layers, params.no_op_offload, params.cache_type_k) == (0, True, "bf16")


def test_as_many_layers_as_were_asked_for_are_asked_for(served) -> None:
    # The file has two blocks and an output: three layers.
    assert served("GPU", gpu_layers=2).n_gpu_layers == 2
    assert served("GPU", gpu_layers=3).n_gpu_layers == -1


def test_a_model_without_a_chat_template_gets_the_texts_as_transformers_gives_them(
    served, write_gguf
) -> None:
    # llama.cpp would take another model's template, and the model would go on writing its markers.
    messages = [{"role": "system", "content": "Be brief.\n"}, {"role": "user", "content": " Who?\nAnswer:"}]
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(
        served("CPU").chat_template
    )
    rendered = template.render(messages=messages, add_generation_prompt=True)
    assert rendered == "Be brief.\n\n\n Who?\nAnswer:"
    assert rendered == "".join(map(chr, PromptRenderer(Bare()).ids(messages)))

    own = write_gguf("own.gguf", more=lambda writer: writer.add_chat_template("{{ messages[0].content }}"))
    assert not hasattr(served("CPU", model_path=str(own)), "chat_template")
