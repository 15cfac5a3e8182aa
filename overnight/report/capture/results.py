"""What the reports of a trait capture are made of: read once, written by every renderer."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from overnight.captures.validity import ModelValidity, Superposition
from overnight.report.capture.strips import StripView
from overnight.report.results import RunReport
from overnight.report.uncertainty.results import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTrait:
    """Where the numbers of a trait are taken where one place has to stand for all."""

    trait: str
    place: int  # among the points of the model
    point: str
    is_chosen: bool  # by the extraction, on texts that it held out; else the middle of what was captured
    has_z: bool  # then z is shown, else the projection

    @property
    def quantity(self) -> str:
        """What is shown."""
        return "z" if self.has_z else "projection"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedModel:
    """A model, what its states were projected on, and what these vectors are worth."""

    name: str
    traits: tuple[ShownTrait, ...]
    points: tuple[str, ...]
    validity: ModelValidity | None
    superposition: Superposition | None
    missing: tuple[str, ...]  # why there is no validity or superposition

    def shown(self, trait: str) -> ShownTrait | None:
        """Return where the numbers of a trait are taken."""
        return next((one for one in self.traits if one.trait == trait), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFacts:
    """One prompt of a trial."""

    slug: str
    model: str
    group: str
    prompt_id: str
    prompt: str
    reply: str
    n_prompt: int
    n_tokens: int
    finish_reason: str | None
    error: str | None  # then nothing was captured
    means: Mapping[str, float | None]  # by trait: over the reply, where and what `ShownTrait` says


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCell:
    """A trait over the prompts of a group: each by its mean over the tokens of the reply."""

    values: tuple[float, ...]
    n_undefined: int

    @property
    def mean(self) -> float | None:
        """The mean over prompts; None where no prompt has a value."""
        return fmean(self.values) if self.values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureReport:
    """Everything that is known of a trait capture."""

    run: RunReport
    models: tuple[CapturedModel, ...]
    prompts: tuple[PromptFacts, ...]
    strips: StripView | None
    pictures: tuple[Picture, ...]  # of the run; those of prompts lie in the folder
    n_pictures_of_prompts: int = 0

    @property
    def experiment(self) -> str:
        """The name of the experiment."""
        return self.run.name

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self.run.run_id

    @property
    def is_dry_run(self) -> bool:
        """Whether no model was loaded."""
        return self.run.is_dry_run

    @property
    def failed(self) -> tuple[PromptFacts, ...]:
        """The prompts of which nothing was captured."""
        return tuple(one for one in self.prompts if one.error is not None)

    def groups(self, model: str) -> tuple[str, ...]:
        """Return the groups of prompts that a model was asked, in the order of the trials."""
        return tuple(dict.fromkeys(one.group for one in self.prompts if one.model == model))

    def cell(self, model: str, group: str, trait: str) -> GroupCell:
        """Return a trait over the prompts of a group."""
        means = [
            one.means.get(trait)
            for one in self.prompts
            if (one.model, one.group) == (model, group) and one.error is None
        ]
        values = tuple(value for value in means if value is not None)
        return GroupCell(values=values, n_undefined=len(means) - len(values))
