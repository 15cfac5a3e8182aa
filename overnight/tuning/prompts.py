"""What every candidate is asked: real questions of the starter sets under a real system prompt, the same for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from overnight.datasets.freezing import load_items, prepare_items
from overnight.planning.plan import make_plan
from overnight.planning.requests import Request, part_requests
from overnight.runs.opening import dataset_names
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.model import ModelSpec
from overnight.spec.prompt_sweep import PromptSweepSpec

_DATASETS = ("starter_closed", "starter_open")
_PROMPT_SET = "short_answer"
_CHUNK = 8  # requests of one dataset side by side, as in a run, so that they share their prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Requests for a model and what they need."""

    model: ModelSpec  # resolved
    requests: tuple[Request, ...]
    context_tokens: int  # of the longest prompt and its answer


def questions(model: ModelSpec, max_new_tokens: int) -> Questions:
    """Return what the candidates of a model are asked, greedily: both datasets under both arms of one prompt set.

    Args:
        model: it need not be resolved.
        max_new_tokens: the longest answer.

    Raises:
        UsageError: the model's weights are not there, or its digest is not known.
    """
    limits = {"closed": max_new_tokens, "open": max_new_tokens}
    asked = PromptSweepSpec.model_validate(
        {
            "name": "tune",
            "experiment": {
                "datasets": _DATASETS,
                "defaults": {"model": model, "prompt_set": _PROMPT_SET, "max_new_tokens": limits},
            },
        }
    )
    spec = resolve(asked, ConfigRoot(shipped_config()))
    path = prepare_items(spec.experiment).path
    plan = make_plan(spec, load_items([path / f"{name}.jsonl" for name in dataset_names(spec)]))
    (block,) = plan.blocks
    lists = [list(part_requests(block.trials[0], part, plan.conditions)) for part in plan.parts]
    return Questions(
        model=block.model, requests=tuple(interleaved(lists)), context_tokens=block.context_tokens
    )


def interleaved(lists: Sequence[Sequence[Request]], chunk: int = _CHUNK) -> list[Request]:
    """Return the requests of several lists in turn, some of each at a time: any beginning of it is a mixture."""
    turns = ([each[start : start + chunk] for start in range(0, len(each), chunk)] for each in lists)
    return [request for turn in zip_longest(*turns, fillvalue=()) for some in turn for request in some]
