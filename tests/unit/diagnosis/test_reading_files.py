import json
from pathlib import Path

import pytest

from overnight.diagnosis.evidence import Signal
from overnight.diagnosis.limits import token_limits
from overnight.diagnosis.logs import last_words, signs_in
from overnight.diagnosis.prefixes import PromptBytes, prompt_bytes
from overnight.diagnosis.sensors import Sensed, sensed_in_manifest, sensed_in_samples


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (
            "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 8589934592",
            "out of memory",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "out of memory"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "out of memory"),
        ("m.gguf could not be loaded: exit code -9; see m.log", "killed"),
        ("Out of memory: Killed process 4711 (python)", "killed"),
        ("llama_kv_cache: size = 512.00 MiB", None),
    ],
)
def test_the_words_for_lost_memory_and_killed_processes_are_known(
    tmp_path: Path, line: str, kind: str | None
) -> None:
    path = tmp_path / "m.log"
    path.write_text(f"first line\n{line}\n", encoding="utf-8")
    found = list(signs_in(path))
    assert [each for each, _ in found] == ([] if kind is None else [kind])
    assert all(text.startswith("m.log:2: ") for _, text in found)


def test_a_log_that_repeats_itself_is_quoted_a_few_times(tmp_path: Path) -> None:
    (tmp_path / "m.log").write_text("out of memory\n" * 10_000, encoding="utf-8")
    assert len(list(signs_in(tmp_path / "m.log"))) == 20


def test_the_last_words_of_a_log_are_its_last_line_with_text(tmp_path: Path) -> None:
    path = tmp_path / "m.log"
    path.write_bytes(b"x" * 100_000 + b"\nthe end\xff\n\n")
    assert last_words(path) == "the end\ufffd"
    assert last_words(tmp_path / "none.log") is None


def test_bytes_at_the_beginning_of_the_prompt_before_are_shared(tmp_path: Path) -> None:
    # "be brief" + "one", then "be brief" + "two": the second shares 8 of its 11 bytes.
    path = tmp_path / "p.jsonl"
    prompts = [[("system", "be brief"), ("user", user)] for user in ("one", "two")]
    lines = [
        json.dumps({"body": {"messages": [{"role": role, "content": text} for role, text in prompt]}})
        for prompt in prompts
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert prompt_bytes([path]) == PromptBytes(total=22, shared=8)
    assert prompt_bytes([]) is None


@pytest.mark.parametrize(
    ("experiment", "key"),
    [
        ({}, "experiment.defaults.max_new_tokens.closed"),
        ({"sweep": {"max_new_tokens": {"closed": [32, 64]}}}, "experiment.sweep.max_new_tokens.closed"),
        ({"sweep": {"max_new_tokens": {"closed": None}}}, "experiment.defaults.max_new_tokens.closed"),
        (
            {"trials": [{}, {"max_new_tokens": {"closed": 32, "open": 8}}]},
            "experiment.trials[1].max_new_tokens.closed",
        ),
    ],
)
def test_the_key_that_holds_a_limit_is_the_one_that_the_sweep_was_written_with(
    experiment: dict[str, object], key: str
) -> None:
    found = token_limits({"experiment": experiment}, {"max_new_tokens": {"closed": 32, "open": 64}})
    assert found.keys["closed"] == key
    assert found.limits == {"closed": 32, "open": 64}


SUMMARY = {"n": 3, "min": 1.0, "mean": 2.0, "p50": 2.0, "p95": 3.0, "p99": 3.0, "max": 3.0}


def test_a_sensor_of_the_manifest_is_taken_and_one_that_was_absent_is_left_out() -> None:
    machine = {
        "samples": 3,
        "signals": {"gpu_temperature_c": SUMMARY, "gpu_power_w": None},
        "throttle": {"hw_thermal_slowdown": 0.25},
    }
    assert sensed_in_manifest({"machine": machine, "requests": {}}) == Sensed(
        {"gpu_temperature_c": Signal(low=1.0, mean=2.0, high=3.0)}, {"hw_thermal_slowdown": 0.25}
    )
    assert sensed_in_manifest({"machine": {"samples": 0}}) == Sensed({}, None)


def test_a_run_that_was_killed_has_its_samples_still(tmp_path: Path) -> None:
    # The manifest gets a summary when a trial ends; whoever was killed has the table alone. Means would be over
    # loading and waiting too, so that of a signal that is judged by its mean nothing is said.
    text = """timestamp,gpu_temperature_c,gpu_utilization_percent,ram_available_bytes,throttle
2026-01-01T00:00:00,60,0,9000,none
2026-01-01T00:00:01,90,99,,sw_power_cap+hw_thermal_slowdown
2026-01-01T00:00:02,nan,99,3000,
2026-01-01T00:00:03,75,to"""
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    assert sensed_in_samples(tmp_path / "m.csv") == Sensed(
        {
            "gpu_temperature_c": Signal(low=60.0, mean=75.0, high=90.0),
            "ram_available_bytes": Signal(low=3000.0, mean=6000.0, high=9000.0),
        },
        {"sw_power_cap": 0.5, "hw_thermal_slowdown": 0.5},
    )
    assert sensed_in_samples(tmp_path / "none.csv") == Sensed({}, None)


def test_an_uncertainty_sweep_has_one_limit_for_all() -> None:
    found = token_limits(
        {"experiment": {"max_new_tokens": 32}}, {"max_new_tokens": {"closed": 32, "open": 32}}
    )
    assert dict(found.limits) == {"closed": 32, "open": 32}
    assert set(found.keys.values()) == {"experiment.max_new_tokens"}
