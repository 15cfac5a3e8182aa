"""The grid of an uncertainty sweep: models x datasets, and what makes a trial the same trial."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from overnight.engines.openai.dialects import FACTS, require_taken
from overnight.errors import UsageError
from overnight.ids import digest, number_label
from overnight.planning.identity import FINGERPRINT_VERSION, answer_rules, datasets_identity, weights_identity
from overnight.planning.model_facts import model_facts
from overnight.planning.trial import Trial
from overnight.prompting.asking import prefix, prompt, stop_strings, template_digest
from overnight.prompting.messages import Message
from overnight.records import Condition, Item
from overnight.spec.asking import Asking
from overnight.spec.dataset import DatasetSpec
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.sampling import MaxNewTokens, SamplingSpec
from overnight.spec.text_model import TextModelSpec
from overnight.spec.uncertainty_sweep import UncertaintyExperiment, UncertaintySweepSpec
from overnight.uncertainty.labels import LABELS
from overnight.uncertainty.measure import Measure, Need
from overnight.uncertainty.measures import MEASURES, measures_with

_BYTES_PER_TOKEN = 2  # of prompt text, at least; English has about four
_TEMPLATE_TOKENS = 64
_SET_BY = {
    Need.SAMPLES: "sampling.samples_per_item",
    Need.RELEVANCE: "relevance",
    Need.ENTAILMENT: "entailment",
    Need.LOGPROBS: "models",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyTrial(Trial):
    """A model and a dataset. Every item is asked greedily, and as often as samples are wanted."""

    dataset: str
    asking: Asking
    shots: tuple[Item, ...] = ()

    @property
    def slug(self) -> str:
        """The trial's folder."""
        asked = f"{self.asking.style.value}-s{self.asking.shots}"
        limit = f"t{number_label(self.temps[-1])}-mx{self.max_new_tokens.open}"
        return f"{self.model.name}-{self.dataset}-{asked}-{limit}-{self.fingerprint[:8]}"

    @property
    def label(self) -> str:
        """The dataset."""
        return self.dataset

    @property
    def keeps_tokens(self) -> bool:
        """Always: the measures are made of them."""
        return True

    def asks_of(self, dataset: str | None) -> bool:
        """True for its own dataset."""
        return dataset == self.dataset

    def prepared(self, shots: Mapping[str, Sequence[Item]]) -> Self:
        """Return the trial with the shots of its dataset."""
        return replace(self, shots=tuple(shots.get(self.dataset, ())))

    def beginning(self, condition: Condition) -> str:  # noqa: ARG002 - there is one
        """Return the brief and the shots."""
        return prefix(self.shots, self.asking)

    def turn(self, item: Item) -> str:
        """Return the passage and the question, and the brief where it is repeated."""
        return self.messages(item, Condition.CONTROL)[-1]["content"].removeprefix(
            prefix(self.shots, self.asking)
        )

    @property
    def turns(self) -> str:
        """The trial itself: no other one has its items."""
        return self.fingerprint

    def messages(self, item: Item, condition: Condition) -> tuple[Message, ...]:  # noqa: ARG002 - there is one
        """Return the prompt of an item; shots that it has no room for are left out, see `shots_of`."""
        return prompt(item, self.shots[: self.shots_of(item)], self.asking)

    def shots_of(self, item: Item) -> int:
        """Return how many shots the prompt of an item has.

        The last ones are left out, and nothing is cut, where a prompt might be too long for the model. A token is
        taken to be two bytes, so that nobody has to hold the model to know what it is asked.
        """
        room = self.model.context_tokens - self.token_limit(item.type) - _TEMPLATE_TOKENS
        for n_shots in range(len(self.shots), 0, -1):
            (turn,) = prompt(item, self.shots[:n_shots], self.asking)
            if len(turn["content"].encode("utf-8", "replace")) <= room * _BYTES_PER_TOKEN:
                return n_shots
        return 0

    def requested(self) -> dict[str, Any]:
        """Return what was asked for, for the manifest and the report."""
        return {
            "model": self.model.name,
            "model_digest": self.model.sha256,
            "quantization": self.model.quantization,
            "engine": self.model.engine.value,
            "dataset": self.dataset,
            "asking": self.asking.model_dump(mode="json"),
            "temps": list(self.temps),
            "top_p": self.top_p,
            "top_k": self.top_k,
            "max_new_tokens": self.max_new_tokens.model_dump(),
            "samples_per_item": self.draws(self.temps[-1]) if len(self.temps) > 1 else 0,
            "seed": self.sampling.seed,
            "stop": list(self.sampling.stop),
        }


def uncertainty_trials(spec: UncertaintySweepSpec) -> Iterator[UncertaintyTrial]:
    """Yield the trials of a resolved sweep, model by model; they have no shots yet.

    Raises:
        UsageError: a model gives no log-probabilities, or a measure or a label is not known.
    """
    experiment = spec.experiment
    _require_labels(experiment)
    for model in experiment.models:
        for dataset in experiment.datasets:
            if not isinstance(model, ModelSpec) or not isinstance(dataset, DatasetSpec):
                raise TypeError(f"{model!r} or {dataset!r} is still a name; resolve the sweep first")
            if not dataset.is_switched_off:
                yield _trial(model, dataset, experiment)


def uncertainty_sweep_identity(experiment: UncertaintyExperiment) -> dict[str, Any]:
    """Return what, beside its trials, makes two sweeps the same: what is measured, and how it is judged."""
    return {
        "answer_rules": answer_rules(experiment),
        "measures": [measure.name for measure in measures_of(experiment)],
        "relevance": _text_model(experiment.relevance),
        "entailment": _text_model(experiment.entailment),
        "judge": weights_identity(experiment.judge) if isinstance(experiment.judge, ModelSpec) else None,
        "labels": experiment.labels,
        "weighting_study": experiment.weighting_study,
        "main": [experiment.main_measure, experiment.main_label],
        "statistics": experiment.statistics.model_dump(mode="json"),
    }


def measures_of(experiment: UncertaintyExperiment) -> tuple[Measure, ...]:
    """Return what is measured: what was named, or else all that what is there allows.

    Raises:
        UsageError: a measure is not known, or needs what is not there.
    """
    had = {Need.LOGPROBS}
    had |= {Need.SAMPLES} if experiment.sampling.samples_per_item else set()
    had |= {Need.RELEVANCE} if experiment.relevance else set()
    had |= {Need.ENTAILMENT} if experiment.entailment else set()
    if experiment.measures is None:
        return measures_with(had)
    _require_known("measures", experiment.measures, MEASURES)
    found = tuple(MEASURES[name] for name in experiment.measures)
    for measure in found:
        if lacking := sorted(measure.needs - had):
            raise UsageError(
                f"experiment.measures: {measure.name} needs {', '.join(lacking)}; set experiment."
                f"{_SET_BY[lacking[0]]}, or take the measure out"
            )
    return found


def _require_labels(experiment: UncertaintyExperiment) -> None:
    _require_known("labels", experiment.labels, LABELS)
    if "judge" in experiment.labels and experiment.judge is None:
        raise UsageError(
            "experiment.labels: judge needs a model; name it in experiment.judge, or take the label out"
        )
    for key, name, known in (
        ("main_label", experiment.main_label, experiment.labels),
        ("main_measure", experiment.main_measure, [measure.name for measure in measures_of(experiment)]),
    ):
        if name not in known:
            raise UsageError(f"experiment.{key}: {name!r} is not among {', '.join(known)}; name one of them")


def _text_model(value: str | TextModelSpec | None) -> dict[str, Any] | None:
    return value.identity if isinstance(value, TextModelSpec) else None


def _trial(model: ModelSpec, dataset: DatasetSpec, experiment: UncertaintyExperiment) -> UncertaintyTrial:
    drawn = experiment.sampling
    sampling = SamplingSpec(
        samples_per_item=max(1, drawn.samples_per_item),
        seed=drawn.seed,
        stop=stop_strings(experiment.asking.style),
        logprobs=True,
    )
    temps = (0.0, drawn.temperature) if drawn.samples_per_item else (0.0,)
    if experiment.dry_run:
        model = model.model_copy(update={"engine": EngineKind.DRY_RUN})
    _require_logprobs(model, temps, drawn.top_k, sampling.stop)
    model_facts(model)  # what the analysis will want to know
    return UncertaintyTrial(
        model=model,
        dataset=dataset.name,
        asking=experiment.asking,
        temps=temps,
        top_p=drawn.top_p,
        top_k=drawn.top_k,
        max_new_tokens=MaxNewTokens(closed=experiment.max_new_tokens, open=experiment.max_new_tokens),
        sampling=sampling,
        fingerprint=_fingerprint(model, dataset, temps, sampling, experiment),
    )


def _fingerprint(
    model: ModelSpec,
    dataset: DatasetSpec,
    temps: tuple[float, ...],
    sampling: SamplingSpec,
    experiment: UncertaintyExperiment,
) -> str:
    """Return the identity of a trial: everything that can change an answer, and nothing else."""
    shots = experiment.shots_from.get(dataset.name)
    return digest(
        weights_identity(model)
        | {
            "version": FINGERPRINT_VERSION,
            "dataset": dataset.name,
            "asking": experiment.asking.model_dump(mode="json"),
            "template": template_digest(experiment.asking),
            "context_tokens": model.context_tokens,  # decides how many shots a long prompt has
            "temps": [repr(float(t)) for t in temps],
            "top_p": repr(float(experiment.sampling.top_p)),
            "top_k": experiment.sampling.top_k,
            "max_new_tokens": experiment.max_new_tokens,
            "sampling": sampling.model_dump(mode="json"),
            "datasets": datasets_identity(experiment),
            "answerable_only": experiment.answerable_only,
            "shots_from": shots.sha256 if isinstance(shots, DatasetSpec) else shots,
        }
    )


def _require_logprobs(model: ModelSpec, temps: tuple[float, ...], top_k: int, stop: tuple[str, ...]) -> None:
    endpoint = model.endpoint
    if endpoint is None:
        return
    if not FACTS[endpoint.dialect].gives_logprobs:
        raise UsageError(
            f"model {model.name}: dialect {endpoint.dialect.value} gives no log-probabilities, and uncertainty is "
            "measured by them; take the model out, or serve it with an engine that gives them"
        )
    try:
        require_taken(endpoint.dialect, temps=temps, top_k=top_k, stop=stop)
    except UsageError as error:
        raise UsageError(f"model {model.name}: {error}") from None


def _require_known(key: str, names: Sequence[str], known: Mapping[str, object]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
            raise UsageError(f"experiment.{key}: {name!r} is not known; {hint}")
