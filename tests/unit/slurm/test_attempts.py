from pathlib import Path
from types import SimpleNamespace

import pytest

import flows.attempts
from flows.attempts import same_run_again
from overnight.spec.run_options import RunOptions


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions(experiments_dir=tmp_path / "experiments")


def attempt(
    monkeypatch: pytest.MonkeyPatch, options: RunOptions, flow_run: str, deployment: str | None = "d"
):
    """Return the options of a run, as a flow run has them each time that it begins."""
    runtime = SimpleNamespace(
        flow_run=SimpleNamespace(id=flow_run), deployment=SimpleNamespace(id=deployment)
    )
    monkeypatch.setattr(flows.attempts, "prefect", SimpleNamespace(runtime=runtime))
    return same_run_again(options)


def begin(options: RunOptions) -> None:
    folder = options.experiments_dir / f"run_{options.run_id}"
    folder.mkdir(parents=True)
    (folder / "manifest.json").touch()


def test_a_second_attempt_goes_on_with_what_the_first_began(monkeypatch, options) -> None:
    first = attempt(monkeypatch, options, "one")
    assert first.run_id is not None
    assert not first.resume
    begin(first)
    second = attempt(monkeypatch, options, "one")
    assert (second.run_id, second.resume) == (first.run_id, True)


def test_an_attempt_that_ended_before_its_run_began_is_repeated_under_its_name(monkeypatch, options) -> None:
    first = attempt(monkeypatch, options, "one")
    second = attempt(monkeypatch, options, "one")
    assert (second.run_id, second.resume) == (first.run_id, False)


def test_another_flow_run_is_another_run(monkeypatch, options) -> None:
    first = attempt(monkeypatch, options, "one")
    begin(first)
    other = attempt(monkeypatch, options, "two")
    assert other.run_id != first.run_id
    assert not other.resume


def test_a_name_that_another_run_has_is_not_taken_for_ones_own(monkeypatch, options) -> None:
    # Else a second attempt would go on with a run of somebody else.
    named = options.model_copy(update={"run_id": "night"})
    begin(named)
    for _ in range(2):
        assert not attempt(monkeypatch, named, "one").resume


def test_a_run_from_the_terminal_is_what_its_command_says(monkeypatch, options) -> None:
    assert attempt(monkeypatch, options, "one", deployment=None) is options
    going_on = options.model_copy(update={"run_id": "r", "resume": True})
    assert attempt(monkeypatch, going_on, "one") is going_on
    assert not options.experiments_dir.exists()
