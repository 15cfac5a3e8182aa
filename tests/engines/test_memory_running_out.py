"""Memory that really runs out, under real limits: what the host says of it, and what a lower rung makes of it."""

import asyncio
import contextlib
import dataclasses
import errno
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.engines.host import EngineHost
from overnight.engines.ladder_holder import LadderHolder
from overnight.engines.llama_cpp import LlamaCppEngine
from overnight.errors import EngineUnavailable, OutOfMemory
from overnight.planning.ladder import Ladder, Rung
from overnight.planning.requests import Request
from overnight.prompting.messages import Message
from overnight.spec.model import ModelSpec

MIB = 2**20
# One slot of 512 tokens takes 300 MiB of private memory, four of 8192 take 750 MiB for their keys and values alone.
ENOUGH_FOR_ONE_SLOT = 500 * MIB


def request(question: str) -> Request:
    return Request(
        custom_id="d|i|control|0.0|0|closed",
        part="d_p01",
        messages=(Message(role="user", content=question),),
        temperature=0.0,
        top_p=1.0,
        top_k=50,
        max_new_tokens=12,
        seed=7,
        stop=(),
    )


def ask(state_path: Path, question: str = "What is the capital of France?") -> str:
    async def answer() -> str:
        engine = LlamaCppEngine(state_path, timeout_s=60, startup_timeout_s=60)
        try:
            return (await engine.complete(request(question))).text
        except EngineUnavailable:
            await engine.recover()
            return "recovered"
        finally:
            await engine.close()

    return asyncio.run(answer())


def ask_for_ever(state_path: Path) -> None:
    """Ask about something long and new each time: every prompt takes some memory more."""
    for n in itertools.count():
        ask(state_path, f"{n} " + "the sea and the sky " * 120)


def private_memory(group: Path) -> int:
    counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(counts.get("rss", counts.get("anon", 0)))


def test_a_context_that_is_too_large_is_out_of_memory_and_not_a_crash(host, tmp_path) -> None:
    settings = dataclasses.replace(
        host.settings, slots=4, context_tokens=8192, memory_limit_bytes=ENOUGH_FOR_ONE_SLOT
    )
    with (
        EngineHost(settings, tmp_path, "wide") as wide,
        pytest.raises(OutOfMemory, match=r"4 slots of 8192 tokens: it said .*failed to allocate"),
    ):
        wide.start()


def test_a_model_that_is_too_large_is_out_of_memory_and_not_a_crash(host, tmp_path) -> None:
    # Its weights alone are 94 MiB, which under a limit are read and not mapped.
    settings = dataclasses.replace(host.settings, slots=1, context_tokens=512, memory_limit_bytes=150 * MIB)
    with EngineHost(settings, tmp_path, "large") as large, pytest.raises(OutOfMemory, match="it said"):
        large.start()


def test_down_the_ladder_there_is_a_rung_that_fits(host, weights, tmp_path) -> None:
    model = ModelSpec(
        name="smollm2", source=str(weights), family="smollm2", params_billion=0.135, quantization="Q4_1",
        context_tokens=8192,
    )  # fmt: skip
    rungs = tuple(
        Rung(model=model, slots=slots, context_tokens=context)
        for slots, context in ((4, 8192), (2, 8192), (1, 512))
    )

    def make(rung: Rung) -> EngineHost:
        settings = dataclasses.replace(
            host.settings,
            slots=rung.slots,
            context_tokens=rung.context_tokens,
            memory_limit_bytes=ENOUGH_FOR_ONE_SLOT,
        )
        return EngineHost(settings, tmp_path, rung.model.name)

    with LadderHolder(Ladder(rungs), 0, make) as holder:
        with pytest.raises(OutOfMemory):
            holder.start()
        with pytest.raises(OutOfMemory):
            holder.step_down()
        assert holder.step_down() == rungs[2]
        assert (holder.state.slots, holder.state.context_tokens, holder.state.loads) == (1, 512, 1)
        assert ask(tmp_path / "smollm2.json") not in ("", "recovered")
        with pytest.raises(OutOfMemory, match="nothing below it on the ladder"):
            holder.step_down()
    assert not (tmp_path / "smollm2.json").exists()


def test_a_host_that_is_killed_by_somebody_is_restarted_as_it_was(host) -> None:
    os.kill(host.state.pid, signal.SIGKILL)
    assert ask(host.state_path) == "recovered"
    assert host.state.status == "serving"
    assert host.state.restarts == 1


def test_a_host_that_the_kernel_kills_for_want_of_memory_is_not_loaded_the_same_way_again(
    host, tmp_path, monkeypatch
) -> None:
    with small_group() as (group, limit):
        # A host that joins the group before it loads; then the group is given no more than the host has.
        (tmp_path / "host_in_a_group.py").write_text(
            f"import os, pathlib\n"
            f"pathlib.Path({str(group / 'cgroup.procs')!r}).write_text(str(os.getpid()))\n"
            f"from overnight.engines.llama_cpp_host import main\n"
            f"main()\n"
        )
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        settings = dataclasses.replace(host.settings, module="host_in_a_group", slots=1, context_tokens=2048)
        with EngineHost(settings, tmp_path, "killed") as killed:
            killed.start()
            leave_little(group, limit)
            with pytest.raises(OutOfMemory, match="the kernel killed it for want of memory"):
                ask_for_ever(killed.state_path)
            assert (killed.state.status, killed.state.loads) == ("failed", 1)


def leave_little(group: Path, limit: Path) -> None:
    """Give a group as little more than it has as the kernel takes: it refuses less than it cannot free at once."""
    for headroom in range(1, 65):
        try:
            limit.write_text(str(private_memory(group) + headroom * MIB))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        else:
            return
    pytest.fail("the kernel takes no limit that is near to what the group has")


@contextlib.contextmanager
def small_group() -> Iterator[tuple[Path, Path]]:
    """Make a control group for memory; yield it and the file of its limit, or skip where this user may not."""
    own = next(
        (
            line.split(":")[2].lstrip("/")
            for line in Path("/proc/self/cgroup").read_text().splitlines()
            if line.split(":")[1] in ("memory", "")
        ),
        "",
    )
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = root / own / f"overnight-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text((group / limit).read_text())
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield group, group / limit
        finally:
            _remove(group)
        return
    pytest.skip("this user may not make a control group with a memory limit")


def _remove(group: Path) -> None:
    for _ in range(50):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            return
