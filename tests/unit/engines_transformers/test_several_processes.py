"""How a model is to be held by several processes, and which of them a client asks; no process is started."""

import asyncio
import json

import pytest

from overnight.engines.holding import connect_all, host_settings
from overnight.engines.state import EngineState, read_state, write_state
from overnight.errors import EngineCrashed, EngineUnavailable
from overnight.spec.execution import Execution
from overnight.spec.model import ModelSpec

MODEL = ModelSpec(
    name="tiny",
    engine="transformers",
    source="/nowhere/tiny",
    family="tiny",
    params_billion=0.001,
    quantization="fp32",
    context_tokens=128,
)


def _execution(n_processes: int, **engine) -> Execution:
    return Execution.model_validate({"num_processes": n_processes, "engine": engine})


def test_several_processes_are_a_group_that_is_not_restarted(tmp_path) -> None:
    alone = host_settings(MODEL, tmp_path, 64, _execution(1))
    assert (alone.module, alone.is_restarted) == ("overnight.engines.transformers.host", True)
    assert "num_processes" not in alone.options
    group = host_settings(MODEL, tmp_path, 64, _execution(3, threads=7, memory_limit_gib=2))
    assert (group.module, group.is_restarted) == ("overnight.engines.transformers.group", False)
    assert group.options["num_processes"] == 3
    assert (group.threads, group.memory_limit_bytes) == (7, 2 * 2**30)
    gguf = MODEL.model_copy(update={"engine": "llama_cpp"})
    assert host_settings(gguf, tmp_path, 64, _execution(3)).module == "overnight.engines.llama_cpp_host"


def test_each_client_asks_a_process_of_its_own(tmp_path) -> None:
    urls = ("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
    path = tmp_path / "tiny.json"
    write_state(path, EngineState(status="serving", url=urls[0], urls=urls))
    clients = connect_all(MODEL, _execution(3), tmp_path)
    assert read_state(path).urls == urls
    assert [str(client._http().base_url) for client in clients] == list(urls)
    write_state(path, EngineState(status="serving", url=urls[0], urls=urls[:1]))
    *_, last = connect_all(MODEL, _execution(2), tmp_path)
    with pytest.raises(EngineUnavailable, match="1 processes hold the model; number 1 was asked"):
        asyncio.run(last.health())


def test_a_group_that_ended_is_said_to_have_and_a_state_without_addresses_is_read(tmp_path) -> None:
    path = tmp_path / "tiny.json"
    said = "tiny: process 1 of 2 (counted from 0) died of SIGKILL; see tiny.log"
    path.write_text(json.dumps({"status": "failed", "error_kind": "EngineCrashed", "error": said}))
    assert read_state(path).urls == ()
    client, _ = connect_all(MODEL, _execution(2), tmp_path)
    with pytest.raises(EngineCrashed, match=r"the engine died: tiny: process 1 of 2 .* see tiny\.log"):
        asyncio.run(client.recover())
