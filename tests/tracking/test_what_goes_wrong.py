"""A wandb that is missing, broken, hangs or dies costs a run one line. It stands in place of the real one here."""

import logging
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.tracking import Tracked, hand_over, track_run
from tasks.wandb_runs import TrackingOrder
from tests.tracking.runs import write_run

# A wandb that works, as far as it goes; a case changes one thing of it.
WORKING = """
class Settings:
    model_fields = ()

class Run:
    def log(self, values): pass
    def finish(self, exit_code): pass

def init(**_): return Run()
def Image(*_, **__): return None
def Table(**_): return None
"""
# As the real one does, it starts a service in a session of its own.
HANG = """
def hang(*_, **__):
    import os, subprocess, sys, time
    service = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    open({pid!r}, "w").write(str(service.pid))
    time.sleep(600)
"""


@pytest.fixture
def order(folder, tmp_path: Path) -> TrackingOrder:
    write_run(folder, tracking={"wandb": "offline"})
    return TrackingOrder(
        run_dir=str(folder.path), mode="offline", folder=str(tmp_path), project=None, entity=None, call_s=5
    )


def _in_place_of_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    package = tmp_path / "doubles" / "wandb"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), os.environ["PYTHONPATH"]]))


@pytest.mark.parametrize(
    ("code", "tracked"),
    [
        ("print('wandb: welcome!', flush=True)", Tracked(n_trials=2)),  # what it prints is no answer
        (
            "raise ModuleNotFoundError(\"No module named 'wandb'\")",
            Tracked(problem="ModuleNotFoundError: No module named 'wandb'"),
        ),
        ("class Settings: pass", Tracked(problem="type object 'Settings' has no attribute 'model_fields'")),
        (
            "def init(**_): raise OSError('the disk\\nis full')",
            Tracked(problem="OSError: the disk is full"),
        ),
        ("def log(*_): raise ValueError\nRun.log = log", Tracked(problem="ValueError")),
        (
            "def finish(*_, **__): raise RuntimeError('too late')\nRun.finish = finish",
            Tracked(problem="RuntimeError: too late"),
        ),
        ("def init(**_): raise SystemExit(2)", Tracked(problem="SystemExit: 2")),
        ("import os\nos._exit(3)", Tracked(problem="its process ended with code 3")),
    ],
    ids=["works", "missing", "another", "init", "log", "finish", "leaves", "dies"],
)
def test_whatever_wandb_does_it_is_one_line(folder, order, tmp_path, monkeypatch, code, tracked) -> None:
    _in_place_of_wandb(tmp_path, monkeypatch, f"{WORKING}\n{code}\n")
    found = hand_over(order, folder.stop_request)
    assert found.n_trials == tracked.n_trials
    assert (found.problem or "").endswith(tracked.problem or "")
    assert (found.problem is None) == (tracked.problem is None)
    assert "\n" not in (found.problem or "")


@pytest.mark.parametrize("where", ["init = hang", "Run.finish = hang"], ids=["init", "finish"])
def test_a_wandb_that_hangs_is_given_up_and_leaves_no_process(
    folder, order, tmp_path, monkeypatch, where
) -> None:
    pid = tmp_path / "pid"
    _in_place_of_wandb(tmp_path, monkeypatch, f"{WORKING}{HANG.format(pid=str(pid))}\n{where}\n")
    began = time.monotonic()
    found = hand_over(order, folder.stop_request, patience_s=4)
    assert found == Tracked(problem="it was silent for 4 s and was given up")
    assert time.monotonic() - began < 8
    assert pid.is_file(), "it did not come as far as to hang"
    assert not psutil.pid_exists(int(pid.read_text())) or _is_dead(int(pid.read_text()))


def _is_dead(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        process.wait(timeout=5)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def test_a_stop_request_ends_the_wait_and_is_taken_away(folder, order, tmp_path, monkeypatch) -> None:
    # The run is complete by then: a request that stayed would stop the next stretch of it.
    _in_place_of_wandb(tmp_path, monkeypatch, "import time\ntime.sleep(600)\n")
    folder.stop_request.touch()
    assert hand_over(order, folder.stop_request) == Tracked(problem="it was stopped")
    assert not folder.stop_request.exists()


def test_without_wandb_nothing_is_tried_and_who_asked_for_it_is_told(folder, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    write_run(folder, tracking={"wandb": "offline"})
    ((level, sentence),) = track_run(folder)
    assert level == logging.WARNING
    assert sentence == "wandb is not installed: nothing is tracked; `pip install wandb`"


def test_who_says_nothing_of_wandb_hears_nothing_of_it(folder) -> None:
    write_run(folder)
    assert not list(track_run(folder))
    assert not (folder.path / "wandb").exists()


def test_a_run_with_a_damaged_file_is_one_line(folder, order) -> None:
    folder.auroc_results.write_text("{")
    ((level, sentence),) = track_run(folder)
    assert level == logging.WARNING
    assert "auroc_results.json" in sentence
    assert "\n" not in sentence
