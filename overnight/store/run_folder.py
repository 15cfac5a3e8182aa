"""A run is a folder; this class knows its paths."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from overnight.errors import UsageError
from overnight.ids import RUN_PREFIX, is_run_id


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """The folder of one trial."""

    path: Path

    @property
    def slug(self) -> str:
        """The trial's name."""
        return self.path.name

    @property
    def results(self) -> Path:
        """Everything a program reads."""
        return self.path / "results"

    @property
    def journal(self) -> Path:
        """The truth about what is done."""
        return self.results / "generations.jsonl"

    @property
    def lone_answers(self) -> Path:
        """The draws that were asked for a second time, alone, and what came of each."""
        return self.results / "audit.jsonl"

    @property
    def audit(self) -> Path:
        """What the second answers say about the first ones."""
        return self.results / "audit.json"

    @property
    def set_aside(self) -> Path:
        """Journals of models that did not fit, kept and not counted."""
        return self.results / "set_aside"

    @property
    def predictions(self) -> Path:
        """One row a draw."""
        return self.results / "predictions.csv"

    @property
    def scores(self) -> Path:
        """One row an item x arm."""
        return self.results / "per_item_scores.csv"

    @property
    def squad(self) -> Path:
        """The official SQuAD 2.0 figures; there where items are of that kind."""
        return self.results / "squad.json"

    @property
    def uncertainty(self) -> Path:
        """One row an item, one column a measure."""
        return self.results / "uncertainty.csv"

    @property
    def relevance(self) -> Path:
        """How relevant each token of the greedy answers is, by a text model."""
        return self.results / "relevance.jsonl"

    @property
    def clusters(self) -> Path:
        """Which samples mean the same, by an entailment model."""
        return self.results / "clusters.jsonl"

    @property
    def weighting_study(self) -> Path:
        """What 43 ways to weigh tokens are worth."""
        return self.results / "weighting_study.json"

    @property
    def uncertainty_columns(self) -> Path:
        """What the columns of the table of measures are, and why a value is missing."""
        return self.results / "uncertainty_columns.json"

    @property
    def judgements(self) -> Path:
        """What a judge said of the greedy answers."""
        return self.results / "judgements.jsonl"

    @property
    def capture_journal(self) -> Path:
        """The truth about what is captured."""
        return self.results / "capture_journal.jsonl"

    @property
    def captures(self) -> Path:
        """A line a prompt: where what was read of it lies, or why it was not."""
        return self.results / "captures.jsonl"

    @property
    def projections(self) -> Path:
        """One row a token x layer x sublayer x trait."""
        return self.results / "projections.parquet"

    @property
    def projection_summary(self) -> Path:
        """One row a prompt x trait x layer x sublayer."""
        return self.results / "summary.csv"

    @property
    def capture_facts(self) -> Path:
        """How many sequences were read, how long that took, and how far a batch was from single sequences."""
        return self.results / "capture.json"

    @property
    def capture_index(self) -> Path:
        """Which tensors lie in which file."""
        return self.results / "index.json"

    @property
    def vectors(self) -> Path:
        """Which vectors are said in words, and how many."""
        return self.results / "vectors.json"

    @property
    def chunks(self) -> Path:
        """The truth about which vectors are done: a line for those that were worked on together."""
        return self.results / "chunks.jsonl"

    @property
    def reconstructions(self) -> Path:
        """What the encoder made of the draws, a file a chunk."""
        return self.results / "reconstructions"

    @property
    def candidates(self) -> Path:
        """A line a vector: its texts, and how far each is from it."""
        return self.results / "candidates.jsonl"

    @property
    def k_sweep(self) -> Path:
        """What the best of K texts recovers, in full."""
        return self.results / "k_sweep_results.json"

    @property
    def k_sweep_table(self) -> Path:
        """The same as one row a number."""
        return self.results / "k_sweep.csv"

    @property
    def recovery_sums(self) -> Path:
        """What the best of K texts adds to every measure, by source; those of several trials add up."""
        return self.results / "recovery" / "oracle.npz"

    @property
    def significance(self) -> Path:
        """The comparison of the arms."""
        return self.results / "significance.json"

    def analysis(self, name: str) -> Path:
        """Return where one of the further analyses is."""
        return self.results / f"{name}.json"

    @property
    def costs(self) -> Path:
        """Tokens, seconds and what they would cost elsewhere."""
        return self.results / "costs.json"

    @property
    def report(self) -> Path:
        """What a person reads."""
        return self.path / "reports" / "report.md"

    def part_state(self, part: str) -> Path:
        """Return where the progress of one part stands."""
        return self.results / "parts" / part / "state.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        """The run's name without its prefix."""
        return self.path.name.removeprefix(RUN_PREFIX)

    @property
    def manifest(self) -> Path:
        """What ran, how far, with what."""
        return self.path / "manifest.json"

    @property
    def plan(self) -> Path:
        """What was going to run."""
        return self.path / "plan.json"

    @property
    def effective_config(self) -> Path:
        """What ran, after overrides, with every name resolved."""
        return self.path / "effective_config.yaml"

    @property
    def overrides(self) -> Path:
        """Every override, old and new value."""
        return self.path / "overrides.json"

    @property
    def lock(self) -> Path:
        """Held while a process works on the run."""
        return self.path / ".lock"

    def block_lock(self, model: str) -> Path:
        """Return what is held while a process works on the trials of a model."""
        return self.path / f".lock-{model}"

    @property
    def stop_request(self) -> Path:
        """Its existence asks the run to stop."""
        return self.path / "STOP_REQUESTED"

    @property
    def log(self) -> Path:
        """What was said while it ran."""
        return self.path / "run.log"

    @property
    def aggregate_report(self) -> Path:
        """All trials, for people."""
        return self.path / "aggregate_report.md"

    @property
    def html_report(self) -> Path:
        """All trials, in one page that opens offline."""
        return self.path / "report.html"

    @property
    def summary(self) -> Path:
        """All trials, for programs."""
        return self.path / "summary.csv"

    @property
    def comparisons(self) -> Path:
        """Trials of one model among each other."""
        return self.path / "comparisons.json"

    @property
    def figures(self) -> Path:
        """Figures as PNG and PDF."""
        return self.path / "figures"

    @property
    def engines(self) -> Path:
        """Where engine hosts say how they are while they live, and what they printed."""
        return self.path / "engines"

    @property
    def telemetry(self) -> Path:
        """What the machine did while models were held."""
        return self.path / "telemetry"

    def samples(self, model: str) -> Path:
        """Return the table of the samples that were taken while a model was held."""
        return self.telemetry / f"{model}.csv"

    def items(self, dataset: str) -> Path:
        """Return where the frozen items of a dataset are."""
        return self.items_folder / f"{dataset}.jsonl"

    @property
    def uncertainty(self) -> Path:
        """One row an item and trial, one column a measure."""
        return self.path / "uncertainty.csv"

    @property
    def auroc_results(self) -> Path:
        """How well each measure tells right from wrong, in full, a record a trial."""
        return self.path / "auroc_results.json"

    @property
    def analysis(self) -> Path:
        """The analysis of an uncertainty sweep as figures and reports take it."""
        return self.path / "analysis.json"

    @property
    def k_sweep_summary(self) -> Path:
        """One row a trial and number of texts, of a best-of-K sweep."""
        return self.path / "k_sweep_summary.csv"

    @property
    def analysis_summary(self) -> Path:
        """What is said of an uncertainty sweep, for scripts."""
        return self.path / "analysis_summary.json"

    def states(self, model: str) -> Path:
        """Return where what was read of each prompt of a model lies, a file a sequence."""
        return self.path / "states" / model

    @property
    def all_vectors(self) -> Path:
        """Where trait vectors lie, a folder a model."""
        return self.path / "vectors"

    def vectors(self, model: str) -> Path:
        """Return where the trait vectors of a model lie."""
        return self.all_vectors / model

    @property
    def items_folder(self) -> Path:
        """Where the frozen items are."""
        return self.path / "items"

    @property
    def preparation(self) -> Path:
        """What became of every row of the datasets while the items were frozen."""
        return self.items_folder / "preparation.json"

    def batch_inputs(self, slug: str) -> Path:
        """Return where the exact requests of a trial are."""
        return self.path / "batch_inputs" / slug

    def trial(self, slug: str) -> TrialFolder:
        """Return the folder of a trial."""
        return TrialFolder(self.path / slug)


def run_path(experiments: Path, run_id: str) -> Path:
    """Return the folder of a run id, with or without its prefix.

    Raises:
        UsageError: the id holds something that a folder's name cannot.
    """
    bare = run_id.removeprefix(RUN_PREFIX)
    if not is_run_id(bare):
        raise UsageError(f"run id {run_id!r}: wanted letters, digits, dots, dashes and underscores only")
    return experiments / f"{RUN_PREFIX}{bare}"


def find_run(experiments: Path, run: str) -> RunFolder:
    """Return the run that a word means: an id with or without ``run_``, or a path.

    Raises:
        UsageError: there is no such run.
    """
    candidates = [Path(run).expanduser()] if is_path(run) or run in {".", ".."} else []
    if not candidates:
        candidates = [run_path(experiments, run), Path(run)]
    for path in candidates:
        if (path / "manifest.json").is_file():
            return RunFolder(path.resolve())
    known = [folder.run_id for folder in list_runs(experiments)]
    hint = f"the newest is {known[-1]}" if known else "there is none yet"
    raise UsageError(f"no run {run!r} in {experiments}; {hint} (`overnight list` shows them)")


def is_path(word: str) -> bool:
    """True for a word that says where something is, False for a name."""
    return "/" in word or os.sep in word


def list_runs(experiments: Path) -> list[RunFolder]:
    """Return every run in a folder, by name (and so by time, where the names are the default ones)."""
    return sorted(_runs(experiments), key=lambda folder: folder.path.name)


def _runs(experiments: Path) -> Iterator[RunFolder]:
    for manifest in experiments.glob(f"{RUN_PREFIX}*/manifest.json"):
        yield RunFolder(manifest.parent.resolve())
