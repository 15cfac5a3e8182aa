from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from overnight.errors import UsageError
from overnight.planning.requests import Request
from overnight.spec.config_root import ConfigRoot
from overnight.spec.model import ModelSpec
from overnight.tuning.candidates import Candidate
from overnight.tuning.prompts import interleaved
from overnight.tuning.race import Outcome, Speed, Status
from overnight.tuning.tuning import Tuning
from overnight.tuning.writing import tuning_record, write_preset

MODEL = ModelSpec(
    name="tiny",
    source="/nowhere/tiny.gguf",
    family="f",
    params_billion=0.1,
    quantization="Q4_0",
    context_tokens=2048,
)


def measured(slots: int, seconds: float) -> Outcome:
    settings = {"max_concurrent_requests": slots, "engine.threads": 2}
    return Outcome(
        candidate=Candidate(settings=settings, context_tokens=256),
        status=Status.MEASURED,
        speed=Speed(((10, seconds),) * 3),
    )


def tuning(*outcomes: Outcome) -> Tuning:
    return Tuning(
        model=MODEL,
        outcomes=outcomes,
        machine={"cpu": "A CPU", "cores": 2, "gpus": None},
        at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        seconds=61,
    )


def test_the_preset_says_what_was_chosen_and_in_comments_what_was_measured_where_and_when(
    own_config: Path, project: Path
) -> None:
    # A number without its machine and its day is worth nothing in a year.
    too_large = replace(measured(8, 1), status=Status.TOO_LARGE, speed=None, why="no room")
    path = own_config / "presets" / "mine.yaml"
    write_preset(tuning(measured(1, 20), measured(4, 10), too_large), path, model="tiny")
    preset = ConfigRoot(project).preset("mine")
    assert preset.values() == {
        "execution.max_concurrent_requests": 4,
        "execution.engine.threads": 2,
        "experiment.defaults.model": "tiny",
    }
    text = path.read_text(encoding="utf-8")
    for said in ("2026-01-02 03:04 UTC", "A CPU", "30.0 answers/min", "60.0 answers/min", "no room"):
        assert said in text


def test_one_setting_of_several_is_no_comparison_and_no_preset_is_written(own_config: Path) -> None:
    late = replace(measured(1, 20), status=Status.NOT_REACHED, speed=None)
    alone = tuning(measured(4, 10), late)
    assert alone.chosen is None
    with pytest.raises(UsageError, match="no preset is written"):
        write_preset(alone, own_config / "presets" / "mine.yaml", model=None)
    assert not own_config.exists()
    # Where nothing else fits, it is what there is.
    fits_alone = tuning(measured(4, 10), replace(late, status=Status.TOO_LARGE))
    assert fits_alone.chosen is fits_alone.outcomes[0]


def test_the_record_has_null_for_what_is_not_known() -> None:
    row = tuning_record(tuning(replace(measured(1, 20), speed=None, status=Status.FAILED)), None)
    (candidate,) = row["candidates"]
    assert candidate["answers_per_minute"] is candidate["interval_95"] is candidate["peak_host_bytes"] is None
    assert row["chosen"] is row["preset"] is None


def test_any_beginning_of_what_is_asked_is_a_mixture() -> None:
    def request(name: str) -> Request:
        return Request(
            custom_id=name,
            part="p",
            messages=(),
            temperature=0,
            top_p=1,
            top_k=0,
            max_new_tokens=1,
            seed=0,
            stop=(),
        )

    lists = [[request(f"{kind}{n}") for n in range(size)] for kind, size in (("a", 3), ("b", 5))]
    found = [one.custom_id for one in interleaved(lists, chunk=2)]
    assert found == ["a0", "a1", "b0", "b1", "a2", "b2", "b3", "b4"]
