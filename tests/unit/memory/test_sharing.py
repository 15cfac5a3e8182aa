from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from overnight.cli.console import console
from overnight.cli.fitting import find_model
from overnight.cli.planning import print_plan
from overnight.memory.estimate import Place
from overnight.memory.fitting import model_fit
from overnight.memory.free import FreeMemory
from overnight.memory.sharing import AUTO_AT_MOST, Wave, waves_of
from overnight.planning.ladder import Ladder, Rung
from overnight.planning.plan import ModelBlock, Plan, make_plan
from overnight.records import Item
from overnight.spec.engine_openai import Dialect, Endpoint
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.prompt_sweep import PromptSweepSpec

GIB = 1 << 30


def memory(place: Place, n_bytes: int | None) -> FreeMemory:
    return FreeMemory(name=place.value, place=place, free_bytes=n_bytes, total_bytes=n_bytes, source="a test")


HOST = memory(Place.HOST, 64 * GIB)
GPU = memory(Place.DEVICE, 16 * GIB)


@pytest.fixture
def small(write_gguf: Callable[..., Path]) -> ModelSpec:
    return find_model(str(write_gguf()))


def block(model: ModelSpec, name: str, **changes: Any) -> ModelBlock:
    named = model.model_copy(update={"name": name, "sha256": f"{name:0<64}"} | changes)
    rung = Rung(model=named, slots=2, context_tokens=512)
    return ModelBlock(model=named, trials=(), context_tokens=512, ladder=Ladder((rung,)))


def grouped(found: tuple[Wave, ...]) -> list[tuple[str, ...]]:
    return [wave.models for wave in found]


def needed(model: ModelSpec, place: Place, *free: FreeMemory) -> int:
    found = model_fit(model, 2, 512, Execution(max_concurrent_requests=2), free)
    assert found.estimate is not None
    return found.estimate.on(place) or 0


def test_on_a_gpu_models_go_together_as_far_as_they_fit_with_the_margin(small: ModelSpec) -> None:
    blocks = [block(small, name) for name in "abc"]
    two = round(2 * needed(small, Place.DEVICE, HOST, GPU) / 0.92) + 2
    assert grouped(waves_of(blocks, Execution(), [HOST, memory(Place.DEVICE, two)])) == [("a", "b"), ("c",)]
    # One byte of margin less than they need together.
    assert grouped(waves_of(blocks, Execution(), [HOST, memory(Place.DEVICE, two - 4)])) == [
        ("a",),
        ("b",),
        ("c",),
    ]


def test_without_a_gpu_nothing_is_won_and_auto_holds_one_at_a_time(small: ModelSpec) -> None:
    found = waves_of([block(small, name) for name in "ab"], Execution(), [HOST])
    assert grouped(found) == [("a",), ("b",)]
    assert all("not on a GPU" in str(wave.alone_because) for wave in found)


def test_a_number_is_taken_at_its_word_on_the_processor_too(small: ModelSpec) -> None:
    blocks = [block(small, name) for name in "abc"]
    found = waves_of(blocks, Execution(parallel_models=2), [HOST])
    assert grouped(found) == [("a", "b"), ("c",)]
    assert found[0].needs is not None
    assert found[0].needs["host"] == 2 * needed(small, Place.HOST, HOST)


def test_auto_holds_no_more_than_share_a_gpu_well(small: ModelSpec) -> None:
    blocks = [block(small, f"m{n}") for n in range(AUTO_AT_MOST + 1)]
    assert [len(wave.blocks) for wave in waves_of(blocks, Execution(), [HOST, GPU])] == [AUTO_AT_MOST, 1]


@pytest.mark.parametrize(
    ("execution", "why"),
    [
        (Execution(parallel_models=1), "parallel_models is 1"),
        (Execution(parallel_models=4, deadline="07:00"), "deadline"),
        (Execution(parallel_models=4, memory_margin=None), "memory_margin is null"),
    ],
)
def test_what_rules_it_out_for_all_models_is_said(small: ModelSpec, execution: Execution, why: str) -> None:
    found = waves_of([block(small, name) for name in "ab"], execution, [HOST, GPU])
    assert grouped(found) == [("a",), ("b",)]
    assert all(why in str(wave.alone_because) for wave in found)


def test_a_model_whose_need_is_not_known_goes_alone_and_says_why(small: ModelSpec) -> None:
    absent = block(small, "b", source="pypi:p==1#m.gguf")
    greedy = block(small, "c", engine=EngineKind.TRANSFORMERS)
    blocks = [block(small, "a"), absent, greedy, block(small, "d")]
    found = waves_of(blocks, Execution(parallel_models=4), [HOST])
    assert grouped(found) == [("a", "d"), ("b",), ("c",)]
    assert "not downloaded yet" in str(found[1].alone_because)
    assert "batches take what memory is left" in str(found[2].alone_because)


@pytest.mark.parametrize("value", ["many", 0, -1, True, 1.5, None])
def test_what_is_neither_auto_nor_a_number_is_refused_with_what_is_wanted(value: object) -> None:
    with pytest.raises(ValueError, match="wanted auto, or how many models at most"):
        Execution.model_validate({"parallel_models": value})


def served(small: ModelSpec, name: str, url: str) -> ModelBlock:
    endpoint = Endpoint(base_url=url, dialect=Dialect.VLLM)
    return block(small, name, engine=EngineKind.OPENAI_COMPATIBLE, source=f"openai:{name}", endpoint=endpoint)


def test_servers_of_others_are_asked_at_the_same_time_but_each_for_one_model(small: ModelSpec) -> None:
    # A server that holds one model at a time would load two in turn, request by request.
    blocks = [
        served(small, name, f"http://{host}.example/v1")
        for name, host in (("a", "x"), ("b", "x"), ("c", "y"))
    ]
    found = waves_of(blocks, Execution(), [HOST])
    assert grouped(found) == [("a", "c"), ("b",)]
    assert found[0].needs == {}
    assert grouped(waves_of(blocks, Execution(parallel_models=3), [HOST])) == [("a", "b", "c")]


def test_models_that_could_come_down_to_the_same_one_are_not_held_together(small: ModelSpec) -> None:
    # Both would publish their engine under that model's name.
    low = block(small, "low")
    high = block(small, "high")
    high = replace(high, ladder=Ladder((*high.ladder.rungs, low.held)))
    assert grouped(waves_of([high, low], Execution(parallel_models=2), [HOST])) == [("high",), ("low",)]


def test_one_file_under_two_names_is_asked_once_where_answers_are_reused(small: ModelSpec) -> None:
    twice = [block(small, name, sha256="a" * 64) for name in ("x", "y")]
    assert len(waves_of(twice, Execution(parallel_models=2), [HOST])) == 2
    uncached = Execution(parallel_models=2, request_cache=False)
    assert len(waves_of(twice, uncached, [HOST])) == 1


def test_a_gpu_of_which_nothing_is_known_is_not_shared(small: ModelSpec) -> None:
    blocks = [block(small, name) for name in "ab"]
    assert len(waves_of(blocks, Execution(), [HOST, memory(Place.DEVICE, None)])) == 2


@pytest.fixture
def plan(make_spec: Callable[..., PromptSweepSpec], items: list[Item]) -> Plan:
    return make_plan(make_spec(), items)


def test_the_plan_says_which_models_are_held_together_and_what_they_take(
    small: ModelSpec, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = [block(small, name) for name in "ab"]
    print_plan(console(), plan, waves=waves_of(blocks, Execution(), [HOST, GPU]))
    said = capsys.readouterr().out
    assert "a, b are held at the same time: " in said
    assert " of device memory" in said
    print_plan(console(), plan, waves=waves_of(blocks, Execution(), [HOST]))
    assert "models are held one at a time: they are not on a GPU" in capsys.readouterr().out
