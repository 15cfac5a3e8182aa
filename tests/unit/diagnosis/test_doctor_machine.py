import json
import threading
import time
from pathlib import Path

import pytest

from overnight.cli import doctoring_machine, main
from overnight.diagnosis.machine import models
from overnight.diagnosis.machine.check import Check, Status, Surroundings, note, ok, problem
from overnight.diagnosis.machine.checking import check_machine, within
from overnight.diagnosis.machine.models import check_models
from overnight.ids import file_digest

AROUND = Surroundings(experiments=Path(), cache=Path(), config=Path(), environment={})


def good(_: Surroundings) -> list[Check]:
    return [ok("good", "all is well")]


def breaking(_: Surroundings) -> list[Check]:
    raise OSError("the driver is gone")


def bad(_: Surroundings) -> list[Check]:
    return [problem("bad", "no room", "make some", bytes=1)]


def test_a_check_that_fails_costs_its_own_line_only() -> None:
    checks = check_machine(AROUND, {"breaking": breaking, "good": good})
    assert [(check.name, check.status) for check in checks] == [
        ("breaking", Status.NOTE),
        ("good", Status.OK),
    ]
    assert "the driver is gone" in checks[0].what


def test_a_check_that_hangs_is_left_behind_in_time() -> None:
    # A driver in trouble answers never; nothing in Python can take its call back.
    leave = threading.Event()

    def hanging(_: Surroundings) -> list[Check]:
        leave.wait(30)
        return []

    started = time.monotonic()
    checks = check_machine(AROUND, {"hanging": hanging, "good": good}, limit_s=0.2)
    leave.set()
    assert time.monotonic() - started < 10
    assert [check.name for check in checks] == ["hanging", "good"]
    assert "did not answer" in checks[0].what


def test_what_a_call_raises_in_time_is_raised() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(OSError, match="the driver is gone"):
        within(5, lambda: breaking(AROUND))


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", *arguments])
    return leaving.value.code, capsys.readouterr().out


def test_the_command_leaves_with_1_where_there_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctoring_machine, "CHECKS", {"good": good, "bad": bad})
    code, out = call(capsys)
    assert code == 1
    assert "-> make some" in out
    assert "1 ok, 0 notes, 1 problems" in out
    code, out = call(capsys, "--json")
    assert code == 1
    assert json.loads(out)["checks"][1] == {
        "name": "bad",
        "status": "problem",
        "what": "no room",
        "remedy": "make some",
        "values": {"bytes": 1},
    }


def test_notes_are_no_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        doctoring_machine, "CHECKS", {"good": good, "n": lambda _: [note("n", "no server", "start one")]}
    )
    assert call(capsys)[0] == 0


def statuses(project: Path, cache: Path) -> dict[str, Check]:
    around = Surroundings(experiments=project, cache=cache, config=project, environment={})
    return {check.name: check for check in check_models(around)}


def test_weights_that_are_here_are_known_by_their_digest(project: Path, own_cache: Path) -> None:
    check = statuses(project, own_cache)["model tiny"]
    assert check.status is Status.OK
    assert check.values["sha256"] == file_digest(project / "models" / "tiny.gguf")


def test_weights_with_another_digest_than_the_pinned_one_are_a_problem(
    project: Path, own_cache: Path
) -> None:
    # A run would be refused, or, were it not, be of another model than it says.
    with (project / "models" / "tiny.yaml").open("a", encoding="utf-8") as file:
        file.write(f"sha256: {'0' * 64}\n")
    assert statuses(project, own_cache)["model tiny"].status is Status.PROBLEM


def test_weights_that_are_not_here_are_said_to_be_missing(project: Path, own_cache: Path) -> None:
    (project / "models" / "tiny.gguf").unlink()
    assert statuses(project, own_cache)["model tiny"].status is Status.NOTE


def test_a_models_file_that_cannot_be_read_is_a_problem_and_the_others_are_checked(
    project: Path, own_cache: Path
) -> None:
    (project / "models" / "broken.yaml").write_text("source: x.gguf\nfamily: f\n", encoding="utf-8")
    found = statuses(project, own_cache)
    assert found["model broken"].status is Status.PROBLEM
    assert found["model tiny"].status is Status.OK


@pytest.mark.parametrize(
    "source", ["pypi:pack==1.0#w.gguf", "pypi:one==1.0#w.gguf.part00 + two==1.0#w.gguf.part01"]
)
def test_a_damaged_download_is_a_problem(project: Path, own_cache: Path, source: str) -> None:
    # A pypi source is kept under its digest; a file there with another one was changed since.
    text = f"source: {source}\nsha256: {'a' * 64}\nfamily: f\nparams_billion: 0.1\n"
    (project / "models" / "pack.yaml").write_text(
        text + "quantization: Q4_0\ncontext_tokens: 2048\n", encoding="utf-8"
    )
    assert statuses(project, own_cache)["model pack"].status is Status.NOTE
    path = own_cache / "models" / ("a" * 64) / "w.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF, but not that one")
    assert statuses(project, own_cache)["model pack"].status is Status.PROBLEM


def test_a_digest_that_takes_too_long_is_left_for_validate(
    project: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Forty gigabytes that were never hashed before take minutes.
    leave = threading.Event()
    monkeypatch.setattr(models, "_LIMIT_S", 0.1)
    monkeypatch.setattr(models, "with_digest", lambda spec: leave.wait(30))
    check = statuses(project, own_cache)["model tiny"]
    leave.set()
    assert check.status is Status.NOTE
    assert "overnight validate" in str(check.remedy)
