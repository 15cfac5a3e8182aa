"""What the files of a text-pair model say of how its output is to be read; nothing is assumed that they could say."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from overnight.engines.sentence_folders import MODULES, modules
from overnight.errors import StoreError, UsageError
from overnight.spec.text_model import ENTAILMENT, TextModelKind, TextModelSpec
from overnight.store.files import read_json

_POOLINGS = ("cls", "max", "mean")
_KNOWN_MODULES = ["Transformer", "Pooling"]
_NO_SCORE_CHANGE = "Normalize"  # a cosine divides by the lengths of the vectors anyway
# Their first position is the one after the padding token's.
_POSITIONS_AFTER_PADDING = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModelFacts:
    """How the output of a model becomes scores."""

    kind: TextModelKind
    max_tokens: int | None  # of a text, or of both texts of a pair together; None: its tokenizer knows
    pooling: str | None = None  # sentence embeddings: which vector stands for a text (cls, max, mean)
    lower_cased: bool = False  # sentence embeddings: texts are read in lower case
    entailment: int | None = None  # entailment: which output it is

    def as_options(self) -> dict[str, Any]:
        """Return them as the settings of a host."""
        return {**asdict(self), "kind": self.kind.value}


def read_facts(folder: Path, spec: TextModelSpec) -> TextModelFacts:
    """Return how a model's output is to be read.

    Raises:
        UsageError: the model is of another kind than the config says, or says of itself what is not supported.
    """
    where = f"text model {spec.name}: {folder}"
    config = _mapping(folder / "config.json", where)
    limit = _positions(config)
    match spec.kind:
        case TextModelKind.SENTENCE_EMBEDDING:
            return _embedding_facts(folder, spec.name, limit)
        case TextModelKind.CROSS_ENCODER:
            _require_one_score(config, where)
            return TextModelFacts(kind=spec.kind, max_tokens=limit)
        case TextModelKind.ENTAILMENT:
            place = _entailment_place(config, spec, where)
            return TextModelFacts(kind=spec.kind, max_tokens=limit, entailment=place)


def _embedding_facts(folder: Path, model: str, limit: int | None) -> TextModelFacts:
    where = f"text model {model}: {folder}"
    parts = modules(folder, model)
    if parts is None:
        raise UsageError(
            f"{where}: no {MODULES} in it, so nobody knows how it pools; wanted a folder as "
            "sentence-transformers writes it"
        )
    types = [part.type for part in parts if part.type != _NO_SCORE_CHANGE]
    if types != _KNOWN_MODULES:
        raise UsageError(
            f"{where}: {MODULES} names {', '.join(types)}; wanted {' and '.join(_KNOWN_MODULES)}"
        )
    if parts[0].folder != folder:
        raise UsageError(
            f"{where}: {MODULES}: the transformer lies in {parts[0].folder.name}; wanted it at the top"
        )
    own = folder / "config_sentence_transformers.json"
    prompt = _mapping(own, where).get("default_prompt_name") if own.is_file() else None
    if prompt is not None:
        raise UsageError(
            f"{where}: reads texts behind a prompt ({prompt}); wanted a model that reads them alone"
        )
    pooling = next(part.folder for part in parts if part.type == "Pooling")
    texts = folder / "sentence_bert_config.json"
    read = _mapping(texts, where) if texts.is_file() else {}
    own_limit = read.get("max_seq_length")
    return TextModelFacts(
        kind=TextModelKind.SENTENCE_EMBEDDING,
        max_tokens=min((each for each in (own_limit, limit) if each is not None), default=None),
        pooling=_pooling(_mapping(pooling / "config.json", where), where),
        lower_cased=bool(read.get("do_lower_case", False)),
    )


def _pooling(config: Mapping[str, Any], where: str) -> str:
    named = config.get("pooling_mode")
    prefix = "pooling_mode_"
    found = [
        key.removeprefix(prefix).removesuffix("_tokens").removesuffix("_token")
        for key, is_on in config.items()
        if key.startswith(prefix) and is_on is True
    ]
    found = [named] if isinstance(named, str) else found
    if len(found) != 1 or found[0] not in _POOLINGS:
        raise UsageError(
            f"{where}: pools by {', '.join(found) or 'nothing that it names'}; wanted one of {', '.join(_POOLINGS)}"
        )
    return found[0]


def _require_one_score(config: Mapping[str, Any], where: str) -> None:
    labels = _labels(config)
    if len(labels) != 1:
        raise UsageError(
            f"{where}: its config.json has {len(labels)} outputs; a cross-encoder has one, a score"
        )
    own = config.get("sentence_transformers")
    named = own.get("activation_fn") if isinstance(own, Mapping) else None
    named = named or config.get("sbert_ce_default_activation_function")
    if named is not None and str(named).rpartition(".")[2] != "Sigmoid":
        raise UsageError(
            f"{where}: its score goes through {named}, so it is not between 0 and 1; wanted a model that was trained "
            "to say how alike two texts are (such as cross-encoder/stsb-roberta-large)"
        )


def _entailment_place(config: Mapping[str, Any], spec: TextModelSpec, where: str) -> int:
    own = _labels(config)
    has_names = not all(label.upper().startswith("LABEL_") for label in own)
    if has_names and spec.labels and [label.lower() for label in spec.labels] != [x.lower() for x in own]:
        raise UsageError(
            f"{where}: labels: the config says {', '.join(spec.labels)}, its config.json {', '.join(own)}; "
            "take them out of the config"
        )
    labels = own if has_names else list(spec.labels)
    if not labels:
        raise UsageError(
            f"{where}: labels: missing, and its config.json names none; say what its {len(own)} outputs mean"
        )
    if len(labels) != len(own):
        raise UsageError(f"{where}: labels: found {len(labels)}, the model has {len(own)} outputs")
    places = [place for place, label in enumerate(labels) if label.lower() == ENTAILMENT]
    if len(places) != 1 or len(labels) == 1:
        raise UsageError(
            f"{where}: its outputs are {', '.join(labels)}; wanted two or more, one of them {ENTAILMENT}"
        )
    return places[0]


def _labels(config: Mapping[str, Any]) -> list[str]:
    """Return what the outputs are called, in their order; two without a name where nothing is said."""
    named = config.get("id2label")
    if not isinstance(named, Mapping) or not named:
        count = config.get("num_labels", 2)
        return [f"LABEL_{place}" for place in range(count if isinstance(count, int) else 2)]
    return [str(named[key]) for key in sorted(named, key=int)]


def _positions(config: Mapping[str, Any]) -> int | None:
    """Return for how many tokens a model has positions."""
    count = config.get("max_position_embeddings")
    if not isinstance(count, int) or count <= 0:
        return None
    if config.get("model_type") in _POSITIONS_AFTER_PADDING:
        return count - int(config.get("pad_token_id") or 1) - 1
    return count


def _mapping(path: Path, where: str) -> Mapping[str, Any]:
    try:
        value = read_json(path)
    except StoreError as error:
        raise UsageError(f"{where}: {error}; download the folder again") from None
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: {path.name}: found a {type(value).__name__}, wanted an object")
    return value
