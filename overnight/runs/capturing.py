"""Reading what a model holds: every prompt of a trial with its reply, in one pass, on disk before it counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from overnight.activations.points import Point
from overnight.activations.request import ActivationRequest, SequenceInput
from overnight.engines.transformers.client import TransformersEngine
from overnight.errors import OutOfMemory, StopRequested
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trait_trials import TraitTrial
from overnight.runs.capture_plan import (
    AnsweredPrompt,
    Wanted,
    answered_prompts,
    projected_points,
    sequence,
    sequence_id,
    states_file,
    wanted_of,
)
from overnight.runs.captured import captured_rows
from overnight.runs.trait_vectors import TraitVectors
from overnight.spec.trait_capture import TraitCaptureExperiment
from overnight.store.journal import Journal, Row
from overnight.store.run_folder import RunFolder, TrialFolder

_UNFIT = "OutOfMemory"
_OF_A_SEQUENCE = ("digest", "path", "n_prompt", "n_tokens", "pieces")
_AT_ONCE = (
    64  # sequences of one request to the host; after each the rows are on disk and a stop is looked for
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What a stretch of capturing came to."""

    n_captured: int  # prompts of the trial, so far
    n_left: int
    n_passed: int  # sequences that went through the model in this stretch
    seconds: float  # in the model
    largest_probe_difference: float | None  # of a batch from a single sequence, relative


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureWork:
    """A trial whose prompts are read, and with what."""

    folder: RunFolder
    plan: Plan
    block: ModelBlock
    trial: TraitTrial
    experiment: TraitCaptureExperiment
    vectors: TraitVectors

    @property
    def files(self) -> TrialFolder:
        """The trial's folder."""
        return self.folder.trial(self.trial.slug)

    @property
    def model(self) -> str:
        """What the rows are of: a model on a lower rung reads everything again."""
        return self.block.held.model.name


async def capture(work: CaptureWork, engine: TransformersEngine) -> Captured:
    """Read every prompt that has a reply and was not read yet; return when all of it is on disk.

    Args:
        work: what is read.
        engine: whose activations are read.

    Raises:
        OutOfMemory: not even one sequence alone fits.
        StopRequested: somebody asked the run to stop.
        EngineError: the engine is gone for good.
    """
    points = projected_points(work.experiment, work.vectors.n_layers)
    items = {name: work.plan.items_of(trial) for name, trial in _trials(work.block).items()}
    wanted = wanted_of(work.block, work.experiment, items, work.vectors.n_layers)
    done = captured_rows(work.folder, work.trial.slug, work.model)
    read = _Reading(work, engine, points, _read_before(work))
    with Journal(work.files.capture_journal) as journal:
        left = (p for p in answered_prompts(work.files, work.plan, work.trial) if p.custom_id not in done)
        while some := list(islice(left, _AT_ONCE)):
            if work.folder.stop_request.exists():
                raise StopRequested(f"{work.trial.slug}: not all prompts are captured")
            for kind in dict.fromkeys(wanted[prompt.item.question] for prompt in some):
                group = [prompt for prompt in some if wanted[prompt.item.question] == kind]
                journal.append(await read.rows(group, kind))
    read.require_memory()
    n_captured = len(captured_rows(work.folder, work.trial.slug, work.model))
    return Captured(
        n_captured=n_captured,
        n_left=work.plan.requests_per_trial[work.trial.slug] - n_captured,
        n_passed=read.n_passed,
        seconds=read.seconds,
        largest_probe_difference=read.largest_probe_difference,
    )


class _Reading:
    """Has sequences read, and says what came of each as rows of the journal of captures."""

    def __init__(
        self,
        work: CaptureWork,
        engine: TransformersEngine,
        points: Sequence[Point],
        before: Mapping[str, Row],
    ) -> None:
        self._work = work
        self._engine = engine
        self._points = tuple(points)
        self._rows = dict(before)  # by the name of the sequence
        self._folder = work.folder.states(work.model)
        self.n_passed = 0
        self.seconds = 0.0
        self.largest_probe_difference: float | None = None
        self._unfit: str | None = None

    def require_memory(self) -> None:
        """Return where every sequence fitted.

        Raises:
            OutOfMemory: one did not, not even alone.
        """
        if self._unfit:
            raise OutOfMemory(self._unfit)

    async def rows(self, prompts: Sequence[AnsweredPrompt], wanted: Wanted) -> list[Row]:
        """Return the rows of some prompts of which the same is wanted."""
        names = {prompt.custom_id: self._name(prompt, wanted) for prompt in prompts if prompt.reply_ids}
        new = {
            names[prompt.custom_id]: sequence(
                names[prompt.custom_id], self._work.trial, prompt, self._work.plan
            )
            for prompt in prompts
            if prompt.reply_ids and names[prompt.custom_id] not in self._rows
        }
        errors = await self._read(tuple(new.values()), wanted) if new else {}
        return [self._row(prompt, names.get(prompt.custom_id), errors) for prompt in prompts]

    async def _read(self, sequences: tuple[SequenceInput, ...], wanted: Wanted) -> dict[str, str]:
        """Have sequences read; return why some could not be."""
        experiment = self._work.experiment
        answer = await self._engine.activations(
            ActivationRequest(
                sequences=sequences,
                out=self._folder.resolve(),
                directions=self._work.vectors.directions.resolve(),
                projected=self._points,
                pooled=(),
                positions=None,
                raw=wanted.raw,
                raw_dtype=experiment.raw.dtype if experiment.raw else "float32",
                internals_of=wanted.internals_of,
                attention_layer=wanted.attention_layer,
                attention_summary=experiment.attention_summary,
                batch_tokens=None,
            )
        )
        self.seconds += answer.seconds
        if answer.largest_probe_difference is not None:
            self.largest_probe_difference = max(
                self.largest_probe_difference or 0.0, answer.largest_probe_difference
            )
        errors: dict[str, str] = {}
        for each in answer.sequences:
            if each.error is not None:
                self._unfit = self._unfit or (each.error.message if each.error.kind == _UNFIT else None)
                errors[each.id] = each.error.message
                continue
            self.n_passed += 1
            self._rows[each.id] = {
                "digest": each.id,
                "path": states_file(self._folder, each.id).relative_to(self._work.folder.path).as_posix(),
                "n_prompt": each.n_prompt,
                "n_tokens": each.n_tokens,
                "pieces": list(each.pieces),
            }
        return errors

    def _row(self, prompt: AnsweredPrompt, name: str | None, errors: Mapping[str, str]) -> Row:
        row: Row = {
            "custom_id": prompt.custom_id,
            "prompt_id": prompt.item.item_id,
            "group": prompt.item.dataset,
            "model": self._work.model,
            "prompt": prompt.item.question,
            "reply": prompt.row["text"] if prompt.row else None,
            "finish_reason": prompt.row["finish_reason"] if prompt.row else None,
        }
        if name is None or name in errors:
            why = errors[name] if name else "there is no reply to read"
            return row | {"status": "error", "error": why}
        return row | {"status": "ok", "error": None} | {key: self._rows[name][key] for key in _OF_A_SEQUENCE}

    def _name(self, prompt: AnsweredPrompt, wanted: Wanted) -> str:
        work = self._work
        return sequence_id(
            work.trial.messages(prompt.item, work.plan.conditions[0]),
            prompt.reply_ids,
            wanted,
            self._points,
            work.vectors.digest,
            attention_summary=work.experiment.attention_summary,
            raw_dtype=work.experiment.raw.dtype if work.experiment.raw else "",
        )


def _read_before(work: CaptureWork) -> dict[str, Row]:
    """Return what is known of sequences that were read for any trial of the model, by their names."""
    return {
        row["digest"]: row
        for trial in work.block.trials
        for row in captured_rows(work.folder, trial.slug, work.model).values()
    }


def _trials(block: ModelBlock) -> dict[str, TraitTrial]:
    return {trial.dataset: trial for trial in block.trials if isinstance(trial, TraitTrial)}
