"""The plan: which model is loaded when, what is asked of it, and what that will take."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from overnight.errors import UndefinedMetricError, UsageError
from overnight.planning.auroc_foresight import auroc_record
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.capture_bytes import Widths, capture_bytes
from overnight.planning.ladder import Ladder, Rung, ladder
from overnight.planning.parts import Part, split_parts
from overnight.planning.trait_trials import TraitTrial
from overnight.planning.trial import Trial
from overnight.planning.trials import expand_trials, experiment_fingerprint
from overnight.records import Condition, Item, ItemType
from overnight.spec.execution import Execution
from overnight.spec.lens import PatchedDecoder
from overnight.spec.model import ModelSpec
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.sweep import SweepSpec
from overnight.spec.trait_capture import TraitCaptureSpec
from overnight.stats.power import required_pairs, smallest_detectable_difference_binary

_BYTES_PER_KEPT_TOKEN = 50  # its text and its log-probability in the journal
_BYTES_PER_ROW = 2500  # journal, prediction, score and request of one draw, beyond its prompt
_ROUND_CONTEXT_TO = 256
_BYTES_PER_TOKEN = 2  # of prompt text; English has about four
_TEMPLATE_TOKENS = 64
# The share of items on which two prompts differ, where nothing is known yet.
_ASSUMED_DISCORDANT_SHARE = 0.2
TARGET_DIFFERENCES = (0.02, 0.05, 0.10)  # for which the items that would be needed are said


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBlock:
    """The trials that share one loaded model."""

    model: ModelSpec
    trials: tuple[Trial, ...]
    context_tokens: int  # of one request
    ladder: Ladder  # of ways to hold the model
    rung: int = 0  # the one that it is held on

    @property
    def held(self) -> Rung:
        """How the model is held, and which model that is."""
        return self.ladder.rungs[self.rung]


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Plan:
    """What a run is going to do; the number of model loads is the number of blocks."""

    fingerprint: str
    blocks: tuple[ModelBlock, ...]
    parts: tuple[Part, ...]
    conditions: tuple[Condition, ...]
    requests_per_trial: dict[str, int]
    bytes_per_trial: dict[str, int]  # on disk, at most

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, block by block."""
        return tuple(trial for block in self.blocks for trial in block.trials)

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, part by part."""
        return tuple(item for part in self.parts for item in part.items)

    def parts_of(self, trial: Trial) -> tuple[Part, ...]:
        """Return the parts that a trial asks."""
        return tuple(part for part in self.parts if trial.asks_of(part.dataset))

    def items_of(self, trial: Trial) -> tuple[Item, ...]:
        """Return the items that a trial asks, part by part."""
        return tuple(item for part in self.parts_of(trial) for item in part.items)

    @property
    def n_requests(self) -> int:
        """Requests over all trials."""
        return sum(self.requests_per_trial.values())

    @property
    def bytes_on_disk(self) -> int:
        """Bytes over all trials, at most."""
        return sum(self.bytes_per_trial.values())


def make_plan(
    spec: SweepSpec,
    items: Sequence[Item],
    shots: Mapping[str, Sequence[Item]] = MappingProxyType({}),
    widths: Mapping[str, Widths] = MappingProxyType({}),
) -> Plan:
    """Return the plan of a resolved sweep over its frozen items.

    Args:
        spec: resolved.
        items: in the order of their datasets.
        shots: answered questions that come before them, by dataset.
        widths: by name, of the models whose states are read; without them their bytes are not counted.

    Raises:
        UsageError: the grid is empty, two of its trials are the same, or a lens is of a layer that its model lacks.
    """
    execution = spec.execution
    trials = tuple(trial.prepared(shots) for trial in expand_trials(spec))
    models = {trial.model.name: trial.model for trial in trials}
    blocks = tuple(
        _block(model, [trial for trial in trials if trial.model.name == name], items, execution)
        for name, model in models.items()
    )
    conditions = execution.conditions if isinstance(spec, PromptSweepSpec) else (Condition.CONTROL,)
    asked = {trial.slug: [item for item in items if trial.asks_of(item.dataset)] for trial in trials}
    requests = {trial.slug: trial.n_requests(len(asked[trial.slug]), conditions) for trial in trials}
    for trial in trials:
        _require_layers(trial, widths.get(trial.model.name))
    return Plan(
        fingerprint=experiment_fingerprint(spec),
        blocks=blocks,
        parts=split_parts(
            items,
            parts_per_dataset=execution.parts_per_dataset,
            lines_per_part=execution.lines_per_part,
        ),
        conditions=conditions,
        requests_per_trial=requests,
        bytes_per_trial={
            trial.slug: _trial_bytes(
                spec, trial, asked[trial.slug], requests[trial.slug], widths.get(trial.model.name)
            )
            for trial in trials
        },
    )


def restricted(plan: Plan, trial: Trial, is_wanted: Callable[[Item], bool]) -> Plan:
    """Return the plan of one trial over some of the items."""
    parts = tuple(Part(part.name, tuple(filter(is_wanted, part.items))) for part in plan.parts)
    n_items = sum(len(part.items) for part in parts if trial.asks_of(part.dataset))
    return replace(
        plan, parts=parts, requests_per_trial={trial.slug: trial.n_requests(n_items, plan.conditions)}
    )


def smallest_detectable(items: Sequence[Item]) -> dict[str, float | None]:
    """Return, by item type, the smallest difference in exact match that this many items can show.

    At 5 % and 80 % power, if the arms differ on a fifth of the items; None where no difference can be shown.
    """
    sizes = {kind.value: sum(item.type is kind for item in items) for kind in ItemType}
    return {kind: _detectable(n) for kind, n in sizes.items() if n}


def required_items() -> dict[str, int]:
    """Return how many items of one type show a difference in exact match of 2, 5 and 10 points.

    At 5 % and 80 % power, if the arms differ on a fifth of the items.
    """
    sd = math.sqrt(_ASSUMED_DISCORDANT_SHARE)
    return {repr(target): required_pairs(sd, target) for target in TARGET_DIFFERENCES}


def _detectable(n: int) -> float | None:
    try:
        return smallest_detectable_difference_binary(n, _ASSUMED_DISCORDANT_SHARE)
    except UndefinedMetricError:
        return None


def plan_record(
    plan: Plan,
    predicted: dict[str, Any] | None = None,
    memory: Mapping[str, dict[str, Any] | None] | None = None,
    waves: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return ``plan.json``; what is not known before the run is null.

    Args:
        plan: what is going to run.
        predicted: seconds and tokens, with intervals, where somebody has predicted them.
        memory: by the model's name, what it needs and whether that fits; null where it is not known.
        waves: which models are held at the same time, as far as could be said beforehand.
    """
    return {
        "schema_version": 1,
        "fingerprint": plan.fingerprint,
        "n_items": len(plan.items),
        "n_requests": plan.n_requests,
        "n_loads": len(plan.blocks),
        "conditions": [condition.value for condition in plan.conditions],
        "predicted_bytes_on_disk": plan.bytes_on_disk,
        "predicted": predicted,
        **(_detectable_record(plan) if len(plan.conditions) > 1 else {}),
        **auroc_record(plan.trials, plan.items),
        "parts": {part.name: len(part.items) for part in plan.parts},
        "waves": None if waves is None else list(waves),
        "blocks": [
            {
                "model": block.model.name,
                "context_tokens": block.context_tokens,
                "predicted_memory": (memory or {}).get(block.model.name),
                "trials": [
                    {
                        "slug": trial.slug,
                        "fingerprint": trial.fingerprint,
                        "n_requests": plan.requests_per_trial[trial.slug],
                        "predicted_bytes_on_disk": plan.bytes_per_trial[trial.slug],
                        **trial.requested(),
                    }
                    for trial in block.trials
                ],
            }
            for block in plan.blocks
        ],
    }


def _detectable_record(plan: Plan) -> dict[str, Any]:
    return {
        "smallest_detectable_difference_em": smallest_detectable(plan.items),
        "required_items_em": required_items(),
    }


def _block(
    model: ModelSpec, trials: Sequence[Trial], items: Sequence[Item], execution: Execution
) -> ModelBlock:
    needed = _needed_tokens(model, trials, items)
    context_tokens = execution.engine.context_tokens or needed
    return ModelBlock(
        model=model,
        trials=tuple(trials),
        context_tokens=context_tokens,
        ladder=ladder(model, context_tokens, needed, execution),
    )


def _needed_tokens(model: ModelSpec, trials: Sequence[Trial], items: Sequence[Item]) -> int:
    """Return a context that holds the longest prompt with its answer, and no more than the model was made for.

    A token of prompt text is taken to be two bytes; the engine counts exactly before it sends.
    """
    answer = max(trial.token_limit(kind) for trial in trials for kind in {item.type for item in items})
    longest = max(_longest_prompt_bytes(trials, items), *(trial.longest_read_bytes for trial in trials))
    needed = longest // _BYTES_PER_TOKEN + _TEMPLATE_TOKENS + answer
    rounded = -(-needed // _ROUND_CONTEXT_TO) * _ROUND_CONTEXT_TO
    return min(rounded, model.context_tokens)


def _longest_prompt_bytes(trials: Sequence[Trial], items: Sequence[Item]) -> int:
    return max((_prompt_bytes(trial, items) for trial in trials), default=0)


def _prompt_bytes(trial: Trial, items: Sequence[Item]) -> int:
    """Return the bytes of a trial's longest prompt; of the condition with the longest beginning."""
    condition = max(Condition, key=lambda each: len(trial.beginning(each).encode("utf-8", "replace")))
    return max(
        (
            sum(len(turn["content"].encode("utf-8", "replace")) for turn in trial.messages(item, condition))
            for item in items
            if trial.asks_of(item.dataset)
        ),
        default=0,
    )


def _trial_bytes(
    spec: SweepSpec, trial: Trial, items: Sequence[Item], n_requests: int, widths: Widths | None
) -> int:
    """Return what a trial takes on disk, at most; the states of a model whose width is not known are left out."""
    if isinstance(trial, BestOfKTrial):
        return trial.n_bytes(n_requests, widths.hidden if widths else None)
    rows = n_requests * (_bytes_per_row(trial) + _longest_prompt_bytes([trial], items))
    if not isinstance(spec, TraitCaptureSpec) or not isinstance(trial, TraitTrial) or widths is None:
        return rows
    return rows + capture_bytes(trial, items, spec.experiment, widths)


def _require_layers(trial: Trial, widths: Widths | None) -> None:
    if not isinstance(trial, BestOfKTrial) or widths is None:
        return
    named = {"layer": trial.layer}
    if isinstance(trial.lens.decoder, PatchedDecoder):
        named["decoder.layer"] = trial.lens.decoder.layer
    for key, layer in named.items():
        if layer >= widths.n_layers:
            raise UsageError(
                f"lens {trial.lens.name}: {key}: found {layer}, wanted one of the {widths.n_layers} layers of "
                f"{trial.model.name}, 0 to {widths.n_layers - 1}"
            )


def _bytes_per_row(trial: Trial) -> int:
    """Return what a draw takes on disk, beyond its prompt; at most, where its tokens are kept."""
    tokens = max(trial.max_new_tokens.closed, trial.max_new_tokens.open) if trial.keeps_tokens else 0
    return _BYTES_PER_ROW + tokens * _BYTES_PER_KEPT_TOKEN
