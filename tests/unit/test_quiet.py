"""Who waits for whom: threads that report what they do, and time that is only waited for where nothing may happen."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from overnight.runs import calculating as calculation
from overnight.runs.calculating import calculating, generating
from overnight.runs.quiet import Quiet
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind

SOON_S = 10.0
NOT_YET_S = 0.05


class Worker:
    """Somebody who comes to the gate, and stays inside until he is sent out."""

    def __init__(self, enter: Callable[[], AbstractContextManager[None]]) -> None:
        self.inside, self._leave = threading.Event(), threading.Event()
        self._enter = enter
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._enter():
            self.inside.set()
            self._leave.wait(SOON_S)

    def is_in(self) -> bool:
        return self.inside.wait(SOON_S)

    def is_kept_out(self) -> bool:
        return not self.inside.wait(NOT_YET_S)

    def send_out(self) -> None:
        self._leave.set()
        self._thread.join(SOON_S)


@pytest.fixture
def quiet() -> Quiet:
    return Quiet()


def test_models_generate_together_and_tables_wait_for_all_of_them(quiet: Quiet) -> None:
    first, second = Worker(quiet.generating), Worker(quiet.generating)
    assert first.is_in()
    assert second.is_in()
    table = Worker(quiet.calculating)
    assert table.is_kept_out()
    first.send_out()
    assert table.is_kept_out()
    second.send_out()
    assert table.is_in()
    table.send_out()


def test_what_waits_to_calculate_goes_before_the_next_that_generates(quiet: Quiet) -> None:
    # Otherwise trials of two models, one after the other, would keep tables out all night.
    first = Worker(quiet.generating)
    assert first.is_in()
    table = Worker(quiet.calculating)
    assert table.is_kept_out()
    second = Worker(quiet.generating)
    assert second.is_kept_out()
    first.send_out()
    assert table.is_in()
    assert second.is_kept_out()
    table.send_out()
    assert second.is_in()
    second.send_out()


def test_calculations_come_one_after_another_unless_they_may_disturb(quiet: Quiet) -> None:
    first = Worker(quiet.calculating)
    assert first.is_in()
    second = Worker(quiet.calculating)
    assert second.is_kept_out()
    bold = Worker(lambda: quiet.calculating(may_disturb=True))
    assert bold.is_in()
    for worker in (bold, first, second):
        worker.send_out()


def test_what_fails_leaves_the_gate_open(quiet: Quiet) -> None:
    for enter in (quiet.generating, quiet.calculating):
        with pytest.raises(ZeroDivisionError), enter():
            raise ZeroDivisionError
    with quiet.calculating():
        pass


def test_a_model_that_is_served_elsewhere_keeps_nobody_away(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Quiet()
    monkeypatch.setattr(calculation, "QUIET", quiet)
    with generating(EngineKind.OPENAI_COMPATIBLE), calculating(Execution()):
        pass
    with generating(EngineKind.LLAMA_CPP):
        table = Worker(lambda: calculating(Execution()))
        assert table.is_kept_out()
        with calculating(Execution(calculate_while_generating=True)):
            pass
    assert table.is_in()
    table.send_out()


def test_calculation_has_the_threads_that_it_is_given() -> None:
    # Asked of the libraries themselves, NumPy's BLAS and SciPy's among them.
    from threadpoolctl import threadpool_info

    with calculating(Execution(calculation_threads=1)):
        found = threadpool_info()
        assert found
        assert {pool["num_threads"] for pool in found} == {1}
