"""``audit.json``: what the second answers of a trial say about its first ones."""

from typing import Literal

from overnight.records import Condition
from overnight.spec.base import Spec


class Tally(Spec):
    """How many answers were the same when they were asked for alone."""

    n: int = 0
    n_identical: int = 0
    n_different: int = 0
    n_ties: int = 0  # of the different ones: the model finds both tokens likely to within ``tie_gap``
    n_real: int = 0  # it does not
    n_not_known: int = 0  # which of the two cannot be told
    rate: float | None = None  # different ones among all
    interval: tuple[float, float] | None = None  # of the rate; exact (Clopper-Pearson)
    undefined_because: str | None = None


class ArmTally(Tally):
    """Those of one arm."""

    condition: Condition
    temperature: float


class Mismatch(Spec):
    """A prompt of which the server evaluated another number of tokens than it has."""

    custom_id: str
    evaluated: int  # by the engine, as the trial's journal says
    counted: int  # by the engine's tokenizer


class PromptTokens(Spec):
    """The prompts whose tokens were counted."""

    n: int = 0
    n_different: int = 0
    examples: tuple[Mismatch, ...] = ()  # the first ones
    undefined_because: str | None = None


class Spread(Spec):
    """How far the mean log-probabilities of answers with the same text are apart; nats."""

    n: int = 0
    largest: float | None = None
    undefined_because: str | None = None


class AuditRecord(Spec):
    """The whole file."""

    state: Literal["complete", "incomplete", "skipped"]
    why: str | None = None  # not complete
    n_draws: int = 0  # that were generated in this run, and could be chosen
    n_chosen: int = 0
    n_errors: int = 0  # chosen ones without a second answer
    confidence: float
    tie_gap: float  # nats
    all: Tally = Tally()
    arms: tuple[ArmTally, ...] = ()
    prompt_tokens: PromptTokens = PromptTokens()
    mean_logprobs: Spread = Spread()
