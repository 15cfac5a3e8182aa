"""The steps of a run, and which of them are wanted."""

from enum import StrEnum

from overnight.errors import UsageError
from overnight.spec.base import Spec


class Step(StrEnum):
    """In this order; submit and poll are one wait with an engine that answers at once."""

    PREPARE = "prepare"
    BUILD = "build"
    SUBMIT = "submit"
    POLL = "poll"
    PARSE = "parse"
    SCORE = "score"
    STATS = "stats"
    COSTS = "costs"
    REPORT = "report"


ORDER = tuple(Step)


class StepRange(Spec):
    """A slice of the steps, both ends included."""

    first: Step = Step.PREPARE
    last: Step = Step.REPORT

    @classmethod
    def choose(cls, only: str | None, first: str | None, last: str | None) -> "StepRange":
        """Return the slice that ``--only-step``, ``--from-step`` and ``--to-step`` ask for.

        Raises:
            UsageError: an unknown step, ``--only-step`` together with another, or an empty slice.
        """
        if only and (first or last):
            raise UsageError("--only-step stands alone; leave out --from-step and --to-step")
        chosen = cls(
            first=_step(only or first, "--only-step" if only else "--from-step") or Step.PREPARE,
            last=_step(only or last, "--only-step" if only else "--to-step") or Step.REPORT,
        )
        if ORDER.index(chosen.first) > ORDER.index(chosen.last):
            raise UsageError(f"--from-step {chosen.first} comes after --to-step {chosen.last}; swap them")
        return chosen

    def has(self, *steps: Step) -> bool:
        """True where any of the steps is wanted."""
        return any(ORDER.index(self.first) <= ORDER.index(step) <= ORDER.index(self.last) for step in steps)

    @property
    def asks(self) -> bool:
        """True where a model is needed."""
        return self.has(Step.SUBMIT, Step.POLL)


def _step(name: str | None, option: str) -> Step | None:
    if name is None:
        return None
    try:
        return Step(name)
    except ValueError:
        raise UsageError(f"{option} {name}: no such step; the steps are {', '.join(ORDER)}") from None
