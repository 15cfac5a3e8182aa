"""Steps of a check, one after the other; the first that fails ends it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from overnight.errors import OvernightError

Result = TypeVar("Result")


class StageFailed(Exception):
    """A step did not end well; what follows it makes no sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a check."""

    name: str
    took_s: float
    found: str | None  # in words
    failed_because: str | None = None


@dataclass(slots=True)
class Stages:
    """The steps so far.

    Args:
        on_stage: told the name of each step when it begins.
    """

    on_stage: Callable[[str], None] = lambda _: None
    done: list[Stage] = field(default_factory=list)

    def run(self, name: str, work: Callable[[], Result], say: Callable[[Result], str]) -> Result:
        """Do one step and note what it found, or why it failed.

        Args:
            name: of the step, as a noun.
            work: may raise whatever this project raises on purpose.
            say: what was found, in words; it may refuse it as well.

        Raises:
            StageFailed: it raised.
        """
        self.on_stage(name)
        began = time.perf_counter()
        try:
            result = work()
            said = say(result)
        except OvernightError as error:
            self.done.append(
                Stage(name=name, took_s=time.perf_counter() - began, found=None, failed_because=str(error))
            )
            raise StageFailed from error
        self.done.append(Stage(name=name, took_s=time.perf_counter() - began, found=said))
        return result
