import json
import threading
from pathlib import Path
from typing import Any

import pytest

from overnight.planning.estimate import Measurement
from overnight.telemetry import rates
from overnight.telemetry.environment import machine_identity
from overnight.telemetry.rates import read_rates, store_rate

MEASURED = Measurement(
    n_requests=10,
    n_truncated=0,
    prompt_tokens=1000,
    evaluated_tokens=400,
    completion_tokens=100,
    prompt_bytes=4000,
    new_bytes=1600,
    limit_tokens=480,
    inference_s=5.0,
    load_s=None,
)
HERE = {"cpu": "a cpu", "cores": 2, "gpus": None}


def keep(measurement: Measurement = MEASURED, **changes: Any) -> Path:
    plain: dict[str, Any] = {
        "model": "m",
        "model_digest": "a" * 64,
        "engine": "llama_cpp",
        "machine": HERE,
        "settings": {"slots": 4, "threads": 2, "gpu_layers": -1, "batch_invariant": None},
    }
    return store_rate(measurement, **(plain | changes))


def test_a_rate_reads_back() -> None:
    keep()
    (found,) = read_rates("a" * 64, "llama_cpp", HERE)
    assert found.measurement == MEASURED
    assert found.has_settings({"slots": 4, "threads": 2, "gpu_layers": -1, "batch_invariant": None})
    assert not found.has_settings({"slots": 1, "threads": 2, "gpu_layers": -1, "batch_invariant": None})


@pytest.mark.parametrize(
    "change", [{"machine": HERE | {"cpu": "another"}}, {"engine": "ollama"}, {"model_digest": "b" * 64}]
)
def test_rates_of_another_machine_engine_or_model_are_not_taken(change: dict[str, Any]) -> None:
    keep(**change)
    assert read_rates("a" * 64, "llama_cpp", HERE) == []


def test_models_whose_digests_begin_alike_are_kept_apart() -> None:
    keep(model_digest="a" * 63 + "b")
    assert read_rates("a" * 64, "llama_cpp", HERE) == []


def test_rates_that_are_written_at_once_are_all_kept() -> None:
    threads = [threading.Thread(target=keep) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_rates("a" * 64, "llama_cpp", HERE)) == 20


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"schema_version": 99}',
        '{"schema_version": 1}',
        '{"schema_version": 1, "measurement": {"n_requests": "many"}}',
    ],
)
def test_a_file_that_is_not_ours_is_passed_over(damage: str) -> None:
    keep()
    keep().write_text(damage)
    assert len(read_rates("a" * 64, "llama_cpp", HERE)) == 1


def test_a_number_that_is_none_makes_no_rate() -> None:
    path = keep()
    value = json.loads(path.read_text())
    value["measurement"]["inference_s"] = None
    path.write_text(json.dumps(value))
    assert read_rates("a" * 64, "llama_cpp", HERE) == []


def test_the_oldest_rates_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_KEPT_PER_MODEL", 3)
    paths = [keep() for _ in range(5)]
    assert sorted(paths[0].parent.glob("*.json")) == sorted(paths[2:])


def test_a_machine_is_known_by_its_hardware_and_not_by_its_name() -> None:
    assert set(machine_identity()) == {"cpu", "cores", "gpus"}
