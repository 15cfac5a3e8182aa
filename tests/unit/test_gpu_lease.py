import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from overnight.engines.gpu_lease import Gpu, gpus_of, leaseholder, leases_folder, lent
from overnight.engines.state import EngineState, write_state
from overnight.errors import GpuBusy, StopRequested, UsageError
from overnight.memory.estimate import Place
from overnight.memory.free import FreeMemory
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.store.run_folder import RunFolder

GPU = Gpu(uuid="GPU-5a", name="GPU 0 Pretended")
OTHER = Gpu(uuid="GPU-7c", name="GPU 1 Pretended")
_PATIENCE_S = 30.0
_HOLD = """
import sys
from pathlib import Path
from overnight.engines.gpu_lease import Gpu, lent
from overnight.spec.execution import Execution
from overnight.store.run_folder import RunFolder

gpu = Gpu(uuid="GPU-5a", name="GPU 0 Pretended")
with lent([gpu], RunFolder(Path(sys.argv[1])), Execution(), say=lambda said: print(said, flush=True)):
    print("held", flush=True)
    sys.stdin.read()
print("given back", flush=True)
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Return what starts a process that holds the GPU for a run until its standard input ends."""
    started = []

    def start(run_id: str) -> "subprocess.Popen[str]":
        run(tmp_path, run_id)
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", _HOLD, str(tmp_path / f"run_{run_id}")]
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def run(tmp_path: Path, run_id: str) -> RunFolder:
    folder = RunFolder(tmp_path / f"run_{run_id}")
    folder.path.mkdir(exist_ok=True)
    return folder


def held_by_a(start: Any) -> "subprocess.Popen[str]":
    first = start("a")
    assert first.stdout.readline() == "held\n"
    return first


def test_the_second_run_waits_and_goes_on_when_the_first_is_killed(start: Any) -> None:
    first = held_by_a(start)
    second = start("b")
    said = second.stdout.readline()
    assert said.startswith(f"waiting for GPU 0 Pretended, held by run a (process {first.pid}, since 20")
    first.send_signal(signal.SIGKILL)
    assert second.stdout.readline() == "held\n"
    assert (leaseholder(GPU).run_id, leaseholder(GPU).pid) == ("b", second.pid)


def test_a_run_that_ends_gives_the_gpu_back_and_leaves_no_card(start: Any) -> None:
    first = held_by_a(start)
    second = start("b")
    second.stdout.readline()
    first.stdin.close()
    assert first.stdout.readline() == "given back\n"
    assert second.stdout.readline() == "held\n"
    second.stdin.close()
    assert second.stdout.readline() == "given back\n"
    assert [path.name for path in leases_folder().glob("*.json")] == []


def test_another_gpu_is_free(start: Any, tmp_path: Path) -> None:
    held_by_a(start)
    with lent([OTHER], run(tmp_path, "b"), Execution(gpu_lease="refuse")):
        assert leaseholder(OTHER).pid == os.getpid()


def test_who_does_not_want_to_wait_is_told_who_holds_it_and_what_to_do(start: Any, tmp_path: Path) -> None:
    first = held_by_a(start)
    refuse = Execution(gpu_lease="refuse")
    with pytest.raises(GpuBusy) as raised, lent([GPU], run(tmp_path, "b"), refuse):
        pass
    assert f"GPU 0 Pretended is held by run a (process {first.pid}, since " in str(raised.value)
    assert "`overnight stop a`, or set execution.gpu_lease to wait" in str(raised.value)


def test_who_takes_no_notice_takes_no_lock(start: Any, tmp_path: Path) -> None:
    first = held_by_a(start)
    with lent([GPU], run(tmp_path, "b"), Execution(gpu_lease="off")):
        assert leaseholder(GPU).pid == first.pid


def test_waiting_ends_with_a_stop_request_and_with_the_time_there_is(start: Any, tmp_path: Path) -> None:
    held_by_a(start)
    folder = run(tmp_path, "b")
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    with (
        pytest.raises(GpuBusy, match=r"held by run a .* until there was no time left"),
        lent([GPU], folder, Execution(), until=soon),
    ):
        pass
    assert datetime.now(UTC) >= soon
    folder.stop_request.touch()
    with (
        pytest.raises(StopRequested, match="b was asked to stop while it waited for GPU 0 Pretended"),
        lent([GPU], folder, Execution()),
    ):
        pass


def test_a_gpu_that_was_taken_is_given_back_when_the_next_one_cannot_be_had(
    start: Any, tmp_path: Path
) -> None:
    held_by_a(start)
    folder = run(tmp_path, "b")
    with pytest.raises(GpuBusy), lent([OTHER, GPU], folder, Execution(gpu_lease="refuse")):
        pass
    with lent([OTHER], run(tmp_path, "c"), Execution(gpu_lease="refuse")):
        pass


def test_models_of_one_run_hold_a_gpu_together_until_the_last_lets_go(tmp_path: Path) -> None:
    refuse = Execution(gpu_lease="refuse")
    go, is_in = threading.Event(), threading.Event()

    def beside() -> None:
        with lent([GPU], run(tmp_path, "a"), refuse):
            is_in.set()
            go.wait(_PATIENCE_S)

    thread = threading.Thread(target=beside)
    with lent([GPU], run(tmp_path, "a"), refuse):
        thread.start()
        assert is_in.wait(_PATIENCE_S)
    with pytest.raises(GpuBusy), lent([GPU], run(tmp_path, "b"), refuse):
        pass
    go.set()
    thread.join(_PATIENCE_S)
    with lent([GPU], run(tmp_path, "b"), refuse):
        assert leaseholder(GPU).run_id == "b"


def test_the_engine_of_a_run_that_was_killed_is_gone_before_the_next_model_is_loaded(
    start: Any, tmp_path: Path
) -> None:
    # An engine ends with the pipe of its run, a moment after it; until then the memory is not back.
    first = held_by_a(start)
    engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    engines = RunFolder(tmp_path / "run_a").engines
    engines.mkdir()
    write_state(engines / "m.json", EngineState(status="serving", pid=engine.pid))
    first.kill()
    first.wait()
    ended: list[float] = []

    def end() -> None:
        time.sleep(0.4)
        ended.append(time.monotonic())
        engine.kill()
        engine.wait()  # a child that nobody has asked after is still there

    thread = threading.Thread(target=end)
    thread.start()
    with lent([GPU], run(tmp_path, "b"), Execution()):
        assert ended
        assert time.monotonic() >= ended[0]
    thread.join(_PATIENCE_S)


def test_a_place_where_no_lock_can_lie_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OVERNIGHT_STATE_DIR", str(tmp_path / "file"))
    with (
        pytest.raises(UsageError, match="name another folder in OVERNIGHT_STATE_DIR, or set"),
        lent([GPU], run(tmp_path, "a"), Execution()),
    ):
        pass


def devices() -> tuple[FreeMemory, ...]:
    about: dict[str, Any] = {"place": Place.DEVICE, "free_bytes": 1, "total_bytes": 2, "source": "a test"}
    return (
        FreeMemory(name="GPU 0 B", uuid="GPU-b", **about),
        FreeMemory(name="GPU 1 A", uuid="GPU-a", **about),
        FreeMemory(name="Apple GPU", **about),
    )


@pytest.mark.parametrize(
    ("engine", "source", "settings", "takes"),
    [
        ("llama_cpp", "m.gguf", {}, True),
        ("llama_cpp", "m.gguf", {"gpu_layers": 0}, False),
        ("llama_cpp", "m.gguf", {"gpu_layers": 5}, True),
        ("transformers", "m", {}, True),
        ("transformers", "m", {"transformers": {"device": "cpu"}}, False),
        ("ollama", "ollama:m", {}, True),
        ("ollama", "ollama:m", {"gpu_layers": 0}, False),
        ("ollama", "ollama:m", {"ollama": {"host": "http://gpu-server:11434"}}, False),
        ("openai_compatible", "openai:m", {}, False),
        ("dry_run", "m.gguf", {}, False),
    ],
)
def test_gpus_are_taken_by_models_that_may_lie_on_one_of_this_machine(
    engine: str, source: str, settings: dict[str, Any], takes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    model = ModelSpec.model_construct(name="m", engine=EngineKind(engine), source=source)
    found = gpus_of(model, EngineSettings(**settings), devices)
    # In one order for all runs: two that want the same two GPUs do not wait for each other.
    assert [gpu.uuid for gpu in found] == (["GPU-a", "GPU-b", "apple-gpu"] if takes else [])


def test_off_is_a_word_in_yaml() -> None:
    assert Execution.model_validate({"gpu_lease": False}).gpu_lease == "off"
