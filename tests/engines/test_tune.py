from dataclasses import replace
from pathlib import Path

import pytest

from overnight.planning.requests import Request
from overnight.spec.config_root import ConfigRoot, own_presets, shipped_config
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import ModelSpec
from overnight.tuning.race import Status
from overnight.tuning.tuning import planned, tune
from overnight.tuning.writing import write_preset

MIB = 1 << 20


@pytest.fixture
def model(weights: Path) -> ModelSpec:
    model = ConfigRoot(shipped_config()).model("smollm2-135m-instruct-q4_1")
    return model.model_copy(update={"source": str(weights)})


def short(requests: tuple[Request, ...]) -> tuple[Request, ...]:
    """Return the questions without a passage: seconds, not minutes."""
    return tuple(one for one in requests if "CONTEXT" not in one.messages[-1]["content"])[:8]


def test_two_settings_are_measured_and_the_faster_one_becomes_a_preset_that_can_be_used(
    model, weights: Path
) -> None:
    # The whole way with a real engine: held, asked, watched, let go, twice; and what comes out is read back.
    execution = Execution()
    asked, outcomes = planned(model, execution, max_new_tokens=4)
    asked = replace(asked, requests=short(asked.requests))
    found = tune(asked, outcomes[:2], execution, seconds=180)  # ends with the questions
    assert [one.status for one in found.outcomes] == [Status.MEASURED] * 2
    for one in found.outcomes:
        assert one.speed is not None
        assert one.speed.n_answers > 0
        # Weights alone are 98 MB, and a hundred times that would be another process.
        assert one.peak_bytes is not None
        assert weights.stat().st_size < one.peak_bytes < 100 * weights.stat().st_size
    assert found.chosen in found.outcomes
    path = own_presets(Path("nowhere")) / "mine.yaml"
    write_preset(found, path, model=model.name)
    preset = ConfigRoot(shipped_config()).preset("mine")
    chosen = found.chosen.candidate.settings["max_concurrent_requests"]
    assert preset.execution.max_concurrent_requests == chosen


def test_a_setting_for_which_memory_does_not_suffice_is_a_result(model) -> None:
    # A real limit on the engine's process, which holds weights of 98 MB: the candidate is lost, not the tuning.
    execution = Execution(engine=EngineSettings(memory_limit_gib=128 * MIB / 2**30))
    asked, outcomes = planned(model, execution, max_new_tokens=4)
    assert {one.status for one in outcomes} == {Status.TOO_LARGE}  # as computed; tried all the same:
    found = tune(asked, [replace(outcomes[0], status=Status.NOT_REACHED)], execution, seconds=60)
    (one,) = found.outcomes
    assert one.status is Status.TOO_LARGE
    assert one.why
    assert found.chosen is None
