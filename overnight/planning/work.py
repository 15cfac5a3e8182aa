"""The work in a plan: how much text is read and how much may be written, before anything is asked."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from overnight.planning.parts import Part
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trial import Trial
from overnight.records import Arm, Condition, Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What some requests ask of an engine."""

    n_requests: int  # that are sent
    n_shared: int = 0  # that an earlier trial of the block has answered already
    prompt_bytes: int  # of all prompts
    new_bytes: int  # of these, what does not stand at the beginning of the prompt before it
    limit_tokens: int  # the longest completions, added up

    def plus(self, other: "Work") -> "Work":
        """Return the work of both."""
        return Work(
            n_requests=self.n_requests + other.n_requests,
            n_shared=self.n_shared + other.n_shared,
            prompt_bytes=self.prompt_bytes + other.prompt_bytes,
            new_bytes=self.new_bytes + other.new_bytes,
            limit_tokens=self.limit_tokens + other.limit_tokens,
        )


@dataclass(frozen=True, slots=True)
class _Text:
    """What the items of a part add to the beginning of a prompt; all arms share it."""

    n_items: int
    n_bytes: int
    n_new: int


def plan_work(plan: Plan, *, sharing: Collection[str] = ()) -> dict[str, Work]:
    """Return the work of each trial, by slug.

    Args:
        plan: what is going to run.
        sharing: models whose answers are kept in the request cache: an arm that stands in an earlier trial of the
            block as well (the control arm of two prompt sets, mostly) costs nothing then.
    """
    texts: dict[object, list[_Text]] = {}  # the same turns are measured once
    work: dict[str, Work] = {}
    for block in plan.blocks:
        work |= _block_work(plan, block, texts, shares_answers=block.model.name in sharing)
    return work


def shared_bytes(first: bytes, second: bytes) -> int:
    """Return the length of the common beginning of two texts, in bytes."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _block_work(
    plan: Plan, block: ModelBlock, texts: dict[object, list[_Text]], *, shares_answers: bool
) -> dict[str, Work]:
    work: dict[str, Work] = {}
    seen: set[object] = set()
    for trial in block.trials:
        arms = trial.arms(plan.conditions)
        own = [arm for arm in arms if not (shares_answers and _identity(trial, arm) in seen)]
        seen |= {_identity(trial, arm) for arm in own}
        if trial.turns not in texts:
            texts[trial.turns] = [_text(trial, part) for part in plan.parts_of(trial)]
        n_draws = _draws(trial, arms)
        work[trial.slug] = _trial_work(plan, trial, own, texts[trial.turns], n_arms_draws=n_draws)
    return work


def _identity(trial: Trial, arm: Arm) -> object:
    """Return what makes two arms ask the same: everything that reaches the engine."""
    limits, sampling = trial.max_new_tokens, trial.sampling
    return (
        trial.beginning(arm.condition),
        trial.turns,
        arm.temperature,
        trial.top_p,
        trial.top_k,
        (limits.closed, limits.open),
        (sampling.samples_per_item, sampling.seed, sampling.stop),
    )


def _trial_work(
    plan: Plan, trial: Trial, arms: Sequence[Arm], texts: Sequence[_Text], n_arms_draws: int
) -> Work:
    items = plan.items_of(trial)
    n_items = len(items)
    draws = _draws(trial, arms)
    limits = sum(trial.token_limit(item.type) for item in items)
    n_bytes = sum(text.n_bytes for text in texts)
    begun = {c: len(trial.beginning(c).encode("utf-8", "replace")) for c in Condition}
    return Work(
        n_requests=draws * n_items,
        n_shared=(n_arms_draws - draws) * n_items,
        prompt_bytes=sum(
            trial.draws(arm.temperature) * (n_bytes + begun[arm.condition] * n_items) for arm in arms
        ),
        new_bytes=sum(
            sum(begun[condition] + text.n_new for text in texts)
            for condition in {arm.condition for arm in arms}
        ),
        limit_tokens=draws * limits,
    )


def _draws(trial: Trial, arms: Sequence[Arm]) -> int:
    return sum(trial.draws(arm.temperature) for arm in arms)


def _text(trial: Trial, part: Part) -> _Text:
    n_bytes = n_shared = 0
    before = b""
    for item in sorted(part.items, key=_as_sent):
        turn = trial.turn(item).encode("utf-8", "replace")
        n_bytes += len(turn)
        n_shared += shared_bytes(before, turn)
        before = turn
    return _Text(len(part.items), n_bytes, n_bytes - n_shared)


def _as_sent(item: Item) -> tuple[str, str, str]:
    return item.context or "", item.question, item.item_id
