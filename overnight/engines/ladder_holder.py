"""A model held on a ladder: where memory runs out, it is let go and held again on the rung below."""

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from overnight.engines.holding import Holder
from overnight.engines.state import EngineState
from overnight.errors import OutOfMemory
from overnight.memory.given_back import free_on_devices, wait_until_back
from overnight.planning.ladder import Ladder, Rung


class LadderHolder:
    """The holder of a model block; a context manager at whose end nothing is held any more.

    One rung is held at a time: the memory of the one above is given back, and that is proved, before the next one is
    loaded. What the GPUs have free proves nothing while other models take of it: then the end of the process does.
    """

    def __init__(
        self, ladder: Ladder, rung: int, make: Callable[[Rung], Holder], *, is_alone: bool = True
    ) -> None:
        """Prepare to hold a model.

        Args:
            ladder: of ways to hold it.
            rung: index of the one to begin on.
            make: makes a holder of a rung.
            is_alone: no other model of the run is held at the same time.
        """
        self._ladder = ladder
        self._index = rung
        self._make = make
        self._is_alone = is_alone
        self._free: dict[str, int] = {}  # on the GPUs, before the model was loaded
        self._held: Holder | None = None
        self._before = EngineState(status="loading")  # what earlier rungs did, added up
        self.failure: OutOfMemory | None = None  # for which the rung is to be left, where somebody saw one

    @property
    def rung(self) -> Rung:
        """How the model is held."""
        return self._ladder.rungs[self._index]

    @property
    def n_below(self) -> int:
        """How many rungs are left."""
        return len(self._ladder.rungs) - self._index - 1

    @property
    def state(self) -> EngineState:
        """How the engine is; loads and restarts are those of all rungs."""
        if self._held is None:
            return self._before
        now = self._held.state
        return replace(
            now, loads=now.loads + self._before.loads, restarts=now.restarts + self._before.restarts
        )

    def start(self) -> None:
        """Hold the model on the current rung.

        Raises:
            EngineError: it cannot be held; `OutOfMemory` where a rung below may help.
        """
        self._let_go()
        self._free = free_on_devices() if self._is_alone else {}
        held = self._make(self.rung)
        self._held = held.__enter__()
        held.start()

    def step_down(self) -> Rung:
        """Let go, and hold the model one rung further down; return that rung.

        Raises:
            OutOfMemory: there is no rung below, or it does not fit either.
            EngineError: it cannot be held for another reason.
        """
        if not self.n_below:
            raise OutOfMemory(
                f"{self.rung.label} does not fit, and there is nothing below it on the ladder; free some memory, "
                "or give the model a ladder of smaller ones"
            )
        self._let_go()
        self._index += 1
        self.start()
        return self.rung

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            self._before = self.state
            held, self._held = self._held, None
            held.__exit__(None, None, None)
            wait_until_back(self._free, self.rung.label)
