from collections.abc import Mapping
from types import TracebackType
from typing import Self

import pytest

from overnight.engines import ladder_holder
from overnight.engines.ladder_holder import LadderHolder
from overnight.engines.state import EngineState
from overnight.planning.ladder import Ladder, Rung
from overnight.spec.model import ModelSpec

SPEC = ModelSpec(
    name="tiny", source="tiny.gguf", family="f", params_billion=0.1, quantization="Q4_0", context_tokens=2048
)
LADDER = Ladder(tuple(Rung(model=SPEC, slots=slots, context_tokens=512) for slots in (2, 1)))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what happens, in order, on a machine whose GPU has 7 bytes free."""
    happened: list[str] = []

    def wait(before: Mapping[str, int], _: str) -> bool:
        happened.append(f"wait for {sum(before.values())}")
        return True

    monkeypatch.setattr(ladder_holder, "free_on_devices", lambda: {"GPU 0": 7})
    monkeypatch.setattr(ladder_holder, "wait_until_back", wait)
    return happened


class Noting:
    """A holder that holds nothing."""

    def __init__(self, rung: Rung, happened: list[str]) -> None:
        self._rung, self._happened = rung, happened
        self.state = EngineState(status="serving", loads=1)

    def start(self) -> None:
        self._happened.append(f"load {self._rung.slots}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._happened.append(f"end {self._rung.slots}")


def step_down_once(said: list[str], *, is_alone: bool) -> LadderHolder:
    with LadderHolder(LADDER, 0, lambda rung: Noting(rung, said), is_alone=is_alone) as holder:
        holder.start()
        holder.step_down()
    return holder


def test_no_rung_is_loaded_before_the_memory_of_the_one_above_is_back(said: list[str]) -> None:
    holder = step_down_once(said, is_alone=True)
    assert said == ["load 2", "end 2", "wait for 7", "load 1", "end 1", "wait for 7"]
    assert holder.state.loads == 2  # also when it has let go


def test_beside_other_models_the_end_of_the_process_is_the_proof(said: list[str]) -> None:
    # What they take meanwhile would look like memory that is not given back.
    step_down_once(said, is_alone=False)
    assert said == ["load 2", "end 2", "wait for 0", "load 1", "end 1", "wait for 0"]
