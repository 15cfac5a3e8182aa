"""A text-pair model for as long as it is needed: loaded when the first pair comes that nobody asked before."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from overnight.engines.host import EngineHost, HostSettings
from overnight.errors import UsageError
from overnight.ids import digest
from overnight.spec.text_model import TextModelSpec
from overnight.store.pair_cache import PairCache
from overnight.telemetry.cores import physical_cores
from overnight.text_models.asked import TextEntailment, TextSimilarity
from overnight.text_models.client import TextModelClient
from overnight.text_models.facts import read_facts
from overnight.text_models.sources import fetch_text_model
from overnight.text_models.values import PairValues
from overnight.uncertainty.relevance import Pair

_HOST = "overnight.text_models.host"
# Goes up whenever the same output of a model becomes another score: what was kept before is not used then.
READING_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Where and how a text-pair model is held."""

    folder: Path  # of its state file and its log
    cache: Path | None = None  # None: the user's cache folder
    threads: int | None = None  # of the processor; None: as many as there are cores
    timeout_s: float = 600  # the longest wait for one answer
    startup_timeout_s: float = 600  # the longest wait for it to be loaded


@contextmanager
def hold_similarity(spec: TextModelSpec, holding: Holding) -> Iterator[TextSimilarity]:
    """Give a model that says how alike two texts are; at the end its process is gone.

    Its files are fetched at once, and it is loaded when it is first asked what is not kept.

    Raises:
        UsageError: the model says something else, or says of itself what is not supported.
        ModelNotFound, StoreError: its files cannot be had, or are others than the pinned ones.
    """
    if not spec.kind.says_alike:
        raise UsageError(
            f"text model {spec.name}: kind {spec.kind.value} does not say how alike two texts are; wanted a "
            "cross-encoder or a sentence-embedding model"
        )
    with _held(spec, holding) as model:
        yield TextSimilarity(spec.name, model.revision, model.ask, model.kept)


@contextmanager
def hold_entailment(spec: TextModelSpec, holding: Holding) -> Iterator[TextEntailment]:
    """Give a model that says whether one text follows from another; see ``hold_similarity``.

    Raises:
        UsageError: the model says something else, or says of itself what is not supported.
        ModelNotFound, StoreError: its files cannot be had, or are others than the pinned ones.
    """
    if spec.kind.says_alike:
        raise UsageError(
            f"text model {spec.name}: kind {spec.kind.value} does not say whether one text follows from another; "
            "wanted an entailment model"
        )
    with _held(spec, holding) as model:
        yield TextEntailment(spec.name, model.revision, model.ask, model.kept)


@contextmanager
def _held(spec: TextModelSpec, holding: Holding) -> Iterator["_Lazy"]:
    model = _Lazy(spec, holding)
    try:
        with model.host:
            yield model
    finally:
        model.kept.close()


class _Lazy:
    """A model that is loaded when it is first asked."""

    def __init__(self, spec: TextModelSpec, holding: Holding) -> None:
        weights = fetch_text_model(spec, holding.cache)
        facts = read_facts(weights.path, spec)
        about = {**spec.model_copy(update={"sha256": weights.sha256}).identity, "reading": READING_VERSION}
        self.revision = digest(about)
        self.kept = PairCache(self.revision, about, holding.cache)
        self.host = EngineHost(
            HostSettings(
                module=_HOST,
                model_path=weights.path,
                slots=1,
                context_tokens=facts.max_tokens or 0,
                threads=holding.threads or physical_cores(),
                options={"facts": facts.as_options(), "device": spec.device},
                startup_timeout_s=holding.startup_timeout_s,
            ),
            holding.folder,
            spec.name,
        )
        self._client = TextModelClient(
            self.host.state_path, timeout_s=holding.timeout_s, startup_timeout_s=holding.startup_timeout_s
        )

    def ask(self, pairs: Sequence[Pair]) -> list[PairValues]:
        """Return what the model says of pairs."""
        if self.host.state.loads == 0:
            self.host.start()
        return self._client.values(pairs)
