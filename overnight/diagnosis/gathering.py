"""From a run's folder to its evidence; nothing else is asked, and a file that is missing or damaged is named."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from overnight.diagnosis.evidence import ModelEvidence, RunEvidence, Tables, TrialEvidence
from overnight.diagnosis.limits import TokenLimits, token_limits
from overnight.diagnosis.logs import last_words, sign_of, signs_in
from overnight.diagnosis.prefixes import prompt_bytes
from overnight.diagnosis.sensors import Sensed, sensed_in_manifest, sensed_in_samples
from overnight.diagnosis.tallying import tally_draws, tally_tables
from overnight.errors import OvernightError
from overnight.spec.reading import read_mapping
from overnight.store.files import read_json
from overnight.store.journal import read_rows
from overnight.store.manifest import RunManifest, TrialRecord, read_manifest
from overnight.store.run_folder import RunFolder
from overnight.store.run_lock import is_locked

T = TypeVar("T")


def gather(folder: RunFolder) -> RunEvidence:
    """Return what the files of a run say; journals and tables are streamed.

    Raises:
        StoreError: the run has no manifest that can be read.
    """
    return _Gatherer(folder, read_manifest(folder)).run()


class _Gatherer:
    def __init__(self, folder: RunFolder, manifest: RunManifest) -> None:
        self._folder = folder
        self._manifest = manifest
        self._unread: dict[str, str] = {}
        nothing: dict[str, Any] = {}
        self._raw = self._read(folder.manifest, lambda: dict(read_json(folder.manifest)), nothing)
        self._plan = self._read(folder.plan, lambda: dict(read_json(folder.plan)), nothing)
        config = folder.effective_config
        self._config = self._read(
            config, lambda: read_mapping(config, "the configuration of the run", expand=False), nothing
        )

    def run(self) -> RunEvidence:
        manifest, environment = self._manifest, self._manifest.environment
        trials = tuple(self._trial(slug, record) for slug, record in manifest.trials.items())
        said = list(self._said())
        return RunEvidence(
            run_id=manifest.run_id,
            state=manifest.state.value,
            is_going_on=is_locked(self._folder),
            error=manifest.error,
            execution=manifest.execution,
            cores=environment.get("cores"),
            memory_bytes=environment.get("memory_bytes"),
            gpus=tuple(environment.get("gpus") or ()),
            models=tuple(
                ModelEvidence(
                    model=block.model,
                    loads=block.loads,
                    restarts=block.restarts,
                    beside=block.beside,
                    last_words=last_words(self._folder.engines / f"{block.model}.log"),
                )
                for block in manifest.blocks.values()
            ),
            trials=trials,
            out_of_memory_lines=tuple(line for kind, line in said if kind == "out of memory"),
            killed_lines=tuple(line for kind, line in said if kind == "killed"),
            missing_sensors=self._read(self._folder.manifest, self._missing_sensors, {}),
            unread=self._unread,
        )

    def _trial(self, slug: str, record: TrialRecord) -> TrialEvidence:
        folder = self._folder.trial(slug)
        requested, effective = record.requested, record.effective or {}
        planned, block = self._planned(slug)
        predicted = ((self._plan.get("predicted") or {}).get("trials") or {}).get(slug) or {}
        sensed = self._sensed(slug, str(requested.get("model")))
        limits = self._read(
            self._folder.effective_config,
            lambda: token_limits(self._config, requested),
            TokenLimits(limits={}, keys={}),
        )
        prompts = self._read(
            self._folder.batch_inputs(slug),
            lambda: prompt_bytes(sorted(self._folder.batch_inputs(slug).glob("*.jsonl"))),
            None,
        )
        return TrialEvidence(
            slug=slug,
            model=str(requested.get("model")),
            engine=str(effective.get("engine") or requested.get("engine")),
            state=record.state.value,
            error=record.error,
            quantization=effective.get("quantization") or requested.get("quantization"),
            slots=effective.get("slots"),
            context_tokens=effective.get("context_tokens") or block.get("context_tokens"),
            trained_context_tokens=self._trained_context(requested.get("model")),
            token_limits=limits.limits,
            limit_keys=limits.keys,
            stop=tuple(requested.get("stop") or ()),
            n_expected=planned.get("n_requests"),
            inference_s=record.timings.inference_s,
            predicted_s=predicted.get("seconds"),
            predicted_high_s=predicted.get("high_s"),
            n_steps_down=len(record.rung_history),
            draws=self._read(
                folder.journal,
                lambda: tally_draws(read_rows(folder.journal)) if folder.journal.is_file() else None,
                None,
            ),
            tables=self._read(
                folder.results, lambda: tally_tables(folder.predictions, folder.scores), Tables()
            ),
            prompt_bytes=prompts.total if prompts else None,
            shared_prompt_bytes=prompts.shared if prompts else None,
            signals=sensed.signals,
            throttle=sensed.throttle,
        )

    def _sensed(self, slug: str, model: str) -> Sensed:
        telemetry = (self._raw.get("trials", {}).get(slug) or {}).get("telemetry")
        nothing = Sensed({}, None)
        if telemetry is not None:
            return self._read(self._folder.manifest, lambda: sensed_in_manifest(telemetry), nothing)
        path = self._folder.path / "telemetry" / f"{model}.csv"
        return self._read(path, lambda: sensed_in_samples(path), nothing)

    def _missing_sensors(self) -> dict[str, str]:
        """Return why sensors gave nothing, by sensor."""
        telemetry = self._raw.get("telemetry") or {}
        return {**(telemetry.get("missing") or {}), **(telemetry.get("ended_because") or {})}

    def _planned(self, slug: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        for block in self._plan.get("blocks") or ():
            for trial in block["trials"]:
                if trial["slug"] == slug:
                    return trial, block
        return {}, {}

    def _trained_context(self, model: Any) -> int | None:
        experiment = self._config.get("experiment") or {}
        named = [
            (experiment.get("defaults") or {}).get("model"),
            *((experiment.get("sweep") or {}).get("models") or ()),
            *(experiment.get("models") or ()),
            *(trial.get("model") for trial in experiment.get("trials") or ()),
        ]
        found = [each["context_tokens"] for each in named if isinstance(each, dict) and each["name"] == model]
        return found[0] if found else None

    def _said(self) -> Iterator[tuple[str, str]]:
        """Yield the kind and the text of what logs and errors say about memory and about killed processes."""
        for path in (self._folder.log, *sorted(self._folder.engines.glob("*.log"))):
            nothing: list[tuple[str, str]] = []
            yield from self._read(path, partial(_signs, path), nothing)
        # Trials of one block fail together, with the same words.
        for error in dict.fromkeys(record.error or "" for record in self._manifest.trials.values()):
            if (kind := sign_of(error)) is not None:
                yield kind, f"manifest.json: {error}"

    def _read(self, path: Path, read: Callable[[], T], instead: T) -> T:
        """Return what a file says; where it cannot be read, its name and the reason are kept."""
        try:
            return read()
        except (OvernightError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            name = path.relative_to(self._folder.path).as_posix()
            self._unread[name] = f"{type(error).__name__}: {error}"
            return instead


def _signs(path: Path) -> list[tuple[str, str]]:
    return list(signs_in(path))
