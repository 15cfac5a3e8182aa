import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from overnight.store.run_folder import RunFolder
from tasks import waves
from tasks.waves import side_by_side

_PATIENCE_S = 10.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return a run's folder; no orchestrator is asked."""
    monkeypatch.setattr(waves, "_beside_others", waves._beside_others.fn)
    return RunFolder(tmp_path)


def until_stopped(folder: RunFolder, ended: list[str]) -> Callable[[], None]:
    """Return work that goes on until somebody asks the run to stop, as trials do."""

    def work() -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not folder.stop_request.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        ended.append("stopped" if folder.stop_request.exists() else "never told")

    return work


def test_the_models_of_a_wave_work_at_the_same_time(folder: RunFolder) -> None:
    together = threading.Barrier(3, timeout=_PATIENCE_S)  # of which none goes on before the others are there
    side_by_side(folder, dict.fromkeys("abc", together.wait))  # type: ignore[dict-item]
    assert not folder.stop_request.exists()


def test_when_one_breaks_the_others_are_asked_to_stop_and_waited_for(folder: RunFolder) -> None:
    ended: list[str] = []

    def broken() -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        side_by_side(folder, {"a": until_stopped(folder, ended), "b": broken})
    assert ended == ["stopped"]


def test_an_end_at_once_takes_the_models_away_from_the_others(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Their requests under way would otherwise be waited for, ten minutes each.
    ended: list[str] = []
    taken: list[RunFolder] = []
    monkeypatch.setattr(waves, "let_all_go", taken.append)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side(folder, {"a": until_stopped(folder, ended), "b": interrupted})
    assert (ended, taken) == (["stopped"], [folder])
