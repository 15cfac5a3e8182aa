import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from overnight.engines.state import EngineState, write_state
from overnight.memory.comparable import tokens_to_save
from overnight.memory.peaks import read_peaks
from overnight.planning.plan import ModelBlock
from overnight.runs import peaks_of_run
from overnight.runs.opening import create_run, load_plan
from overnight.runs.peaks_of_run import peaks_noted
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot
from overnight.spec.execution import Execution
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, validate
from overnight.spec.run_options import RunOptions
from overnight.store.journal import Journal
from overnight.store.manifest import PeakMemory, read_manifest
from overnight.store.run_folder import RunFolder
from overnight.telemetry.environment import machine_identity

MIB = 1 << 20


@pytest.fixture
def run(project: Path, tmp_path: Path, write_gguf: Callable[..., Path]) -> tuple[RunFolder, ModelBlock]:
    """Return a run that is planned, and its block, whose model is a small GGUF file with layers and no training."""
    (project / "models" / "tiny.gguf").write_bytes(write_gguf().read_bytes())
    path = project / "sweeps" / "s.yaml"
    spec = resolve(validate(PromptSweepSpec, read_mapping(path, "a sweep"), path), ConfigRoot.of_sweep(path))
    folder = create_run(spec, RunOptions(experiments_dir=tmp_path, run_id="r1"))
    return folder, load_plan(folder, spec).blocks[0]


@pytest.fixture
def holding() -> Iterator[Callable[[int], int]]:
    """Return a starter of processes that hold so many MiB."""
    started = []

    def start(mib: int) -> int:
        code = f"held = bytearray(b'x') * ({mib} << 20); print('there', flush=True); input()"
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        return process.pid

    yield start
    for process in started:
        process.communicate("\n")


def serve(folder: RunFolder, block: ModelBlock, pid: int, rung: int = 0) -> None:
    held = block.ladder.rungs[rung]
    folder.engines.mkdir(exist_ok=True)
    write_state(
        folder.engines / f"{held.model.name}.json",
        EngineState(status="serving", pid=pid, slots=held.slots, context_tokens=held.context_tokens),
    )


def answer(folder: RunFolder, block: ModelBlock, n: int, prompt_tokens: int = 3) -> None:
    row: dict[str, Any] = {"status": "ok", "prompt_tokens": prompt_tokens, "cached_tokens": 0}
    row |= {"completion_tokens": 1, "at": datetime.now(UTC).isoformat(timespec="milliseconds")}
    with Journal(folder.trial(block.trials[0].slug).journal) as journal:
        journal.append([row | {"custom_id": f"c{number}"} for number in range(n)])


def test_the_peak_of_the_process_that_held_a_model_is_in_the_manifest_and_corrects_later_estimates(
    run: tuple[RunFolder, ModelBlock], holding: Callable[[int], int]
) -> None:
    # A real process of a known size: nothing else tells whether the right one was looked at.
    folder, block = run
    serve(folder, block, holding(64))
    with peaks_noted(folder, block, Execution()):
        answer(folder, block, 2)
    peak = read_manifest(folder).blocks["tiny"].peak_memory
    assert peak is not None
    assert peak.host_bytes is not None
    assert 64 * MIB < peak.host_bytes < 128 * MIB
    assert peak.held_as == block.held.label
    (kept,) = read_peaks(block.model.sha256, "llama_cpp", machine_identity())
    assert dict(kept.settings)["slots"] == block.held.slots
    assert dict(kept.settings)["context_tokens"] == block.held.context_tokens


def test_after_a_step_down_the_peak_is_that_of_the_rung_that_was_held_last(
    run: tuple[RunFolder, ModelBlock], holding: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The rung above died for want of memory: what it held says nothing about what the run needs.
    monkeypatch.setattr(peaks_of_run, "_LOOK_S", 0.01)
    folder, block = run
    serve(folder, block, holding(96))
    lower = holding(8)
    with peaks_noted(folder, block, Execution()):
        watch_seen = datetime.now(UTC)
        while (datetime.now(UTC) - watch_seen).total_seconds() < 0.2:
            pass
        serve(folder, block, lower, rung=1)
        answer(folder, block, 2)
    peak = read_manifest(folder).blocks["tiny"].peak_memory
    assert peak is not None
    assert peak.host_bytes is not None
    assert peak.host_bytes < 64 * MIB
    assert peak.held_as == block.ladder.rungs[1].label


def test_a_peak_is_not_kept_where_what_the_engine_saved_is_not_known(
    run: tuple[RunFolder, ModelBlock], holding: Callable[[int], int]
) -> None:
    # Between nothing and 512 MiB of saved prompts no correction of the rest can be computed.
    folder, block = run
    serve(folder, block, holding(16))
    with peaks_noted(folder, block, Execution()):
        answer(folder, block, 1, prompt_tokens=0)
        row = {"custom_id": "c", "status": "ok", "prompt_tokens": 400_000, "cached_tokens": 399_000}
        row |= {"completion_tokens": 9, "at": datetime.now(UTC).isoformat(timespec="milliseconds")}
        with Journal(folder.trial(block.trials[0].slug).journal) as journal:
            journal.append([row])
    assert read_manifest(folder).blocks["tiny"].peak_memory is not None
    assert read_peaks(block.model.sha256, "llama_cpp", machine_identity()) == []


def test_no_process_of_ours_leaves_no_peak(run: tuple[RunFolder, ModelBlock]) -> None:
    folder, block = run
    with peaks_noted(folder, block, Execution()):
        pass
    assert read_manifest(folder).blocks["tiny"].peak_memory is None


def test_a_peak_that_cannot_be_written_down_is_a_warning(
    run: tuple[RunFolder, ModelBlock],
    holding: Callable[[int], int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    folder, block = run
    monkeypatch.setattr(peaks_of_run, "note_peak", full)
    serve(folder, block, holding(8))
    with caplog.at_level(logging.WARNING), peaks_noted(folder, block, Execution()):
        answer(folder, block, 1)
    assert "No space left" in caplog.text


def test_what_may_be_saved_is_between_what_was_evaluated_and_all_that_stood_in_the_slots() -> None:
    row = {"status": "ok", "prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 3}
    failed = {"status": "error", "prompt_tokens": None, "completion_tokens": None}
    reused = row | {"cached": True}
    assert tokens_to_save([row, failed, reused, row]) == (12, 26)
    assert tokens_to_save([]) is None
    assert tokens_to_save([row, row | {"completion_tokens": None}]) is None


def test_stretches_on_one_rung_are_joined_and_those_on_another_are_not() -> None:
    one = PeakMemory(held_as="a", host_bytes=5, own_bytes=None, device_bytes=7)
    other = PeakMemory(held_as="a", host_bytes=6, own_bytes=2)
    assert one.joined(other) == PeakMemory(held_as="a", host_bytes=6, own_bytes=2, device_bytes=7)
    assert one.joined(other.model_copy(update={"held_as": "b"})) == one
    assert one.joined(None) == one
