"""What is read of which prompt: a prompt that several groups have is read once, for all that any of them wants."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from overnight.activations.points import Component, Point
from overnight.activations.request import SequenceInput
from overnight.ids import custom_id, digest
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trait_trials import TraitTrial
from overnight.prompting.messages import Message
from overnight.records import Item
from overnight.runs.parsing import effective_rows, row_at
from overnight.spec.trait_capture import Internals, TraitCaptureExperiment
from overnight.store.inside import child
from overnight.store.journal import Row
from overnight.store.run_folder import TrialFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is read of a sequence beside its projections."""

    raw: tuple[Point, ...]
    internals_of: int | None  # a layer of which everything is wanted
    attention_layer: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredPrompt:
    """A prompt of a trial with its reply."""

    item: Item
    custom_id: str
    row: Row | None  # of the trial's journal; None where there is no reply
    reply_ids: tuple[int, ...]


def answered_prompts(folder: TrialFolder, plan: Plan, trial: TraitTrial) -> Iterator[AnsweredPrompt]:
    """Yield the prompts of a trial in the order of the plan, each with its reply where there is one.

    Raises:
        StoreError: the journal is damaged.
    """
    offsets = effective_rows(folder.journal)
    (arm,) = trial.arms(plan.conditions)
    with folder.journal.open("rb") if offsets else BytesIO() as journal:
        for item in plan.items_of(trial):
            name = custom_id(item.key, arm.condition.value, arm.temperature, 0, item.type.value)
            row = row_at(journal, offsets[name]) if name in offsets else None
            is_answered = row is not None and row["status"] == "ok"
            tokens = (row["tokens"] or ()) if row is not None and is_answered else ()
            ids = tuple(int(token["id"]) for token in tokens)
            yield AnsweredPrompt(item=item, custom_id=name, row=row, reply_ids=ids)


def projected_points(experiment: TraitCaptureExperiment, n_layers: int) -> tuple[Point, ...]:
    """Return what is projected, layer by layer."""
    return _points(experiment.sublayers, experiment.layers, n_layers)


def raw_points(experiment: TraitCaptureExperiment, n_layers: int) -> tuple[Point, ...]:
    """Return the points whose states are kept as they are."""
    raw = experiment.raw
    return _points(raw.sublayers, raw.layers, n_layers) if raw else ()


def wanted_of(
    block: ModelBlock, experiment: TraitCaptureExperiment, items: Mapping[str, Sequence[Item]], n_layers: int
) -> dict[str, Wanted]:
    """Return, by the text of a prompt, what any trial of a block wants to be read of it.

    Args:
        block: whose trials ask.
        experiment: what they ask for.
        items: the prompts of each dataset.
        n_layers: of the model.
    """
    raw = raw_points(experiment, n_layers)
    inside: dict[str, Internals] = {}
    for trial in block.trials:
        if isinstance(trial, TraitTrial) and trial.internals:
            inside |= dict.fromkeys((item.question for item in items[trial.dataset]), trial.internals)
    texts = {item.question for rows in items.values() for item in rows}
    return {text: _wanted(raw, inside.get(text)) for text in texts}


def sequence_id(
    messages: Sequence[Message],
    reply_ids: Sequence[int],
    wanted: Wanted,
    points: Sequence[Point],
    directions_digest: str,
    *,
    attention_summary: bool,
    raw_dtype: str,
) -> str:
    """Return the name of what is read of a sequence: equal names are of equal content."""
    return digest(
        {
            "messages": list(messages),
            "reply": list(reply_ids),
            "points": [point.label for point in points],
            "directions": directions_digest,
            "raw": [point.label for point in wanted.raw],
            "raw_dtype": raw_dtype if wanted.raw else None,
            "internals": wanted.internals_of,
            "attention": wanted.attention_layer,
            "attention_summary": attention_summary,
        }
    )[:24]


def sequence(name: str, trial: TraitTrial, prompt: AnsweredPrompt, plan: Plan) -> SequenceInput:
    """Return the sequence that a prompt and its reply are."""
    return SequenceInput(
        id=name,
        messages=trial.messages(prompt.item, plan.conditions[0]),
        text=None,
        reply_ids=prompt.reply_ids,
    )


def states_file(folder: Path, name: str) -> Path:
    """Return where what was read of a sequence lies."""
    return child(folder, name, ".safetensors")


def _wanted(raw: tuple[Point, ...], internals: Internals | None) -> Wanted:
    if internals is None:
        return Wanted(raw=raw, internals_of=None, attention_layer=None)
    return Wanted(
        raw=raw,
        internals_of=internals.layer,
        attention_layer=internals.layer if internals.attention else None,
    )


def _points(
    components: Sequence[Component], layers: Sequence[int] | None, n_layers: int
) -> tuple[Point, ...]:
    chosen = range(n_layers) if layers is None else layers
    return tuple(Point(layer, component) for layer in chosen for component in components)
