"""Tiny text-pair models with random weights, and what they say of a pair by its definition, computed pair by pair."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
)

SENTENCES = "who painted it ? paris is the capital of france not lyon and a city in no yes"
MAX_TOKENS = 24


def save_classifier(folder: Path, labels: Sequence[str], *, seed: int = 4) -> Path:
    """Write a classifier of pairs with these outputs."""
    torch.manual_seed(seed)
    config = _config(folder, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)})
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def save_headless(folder: Path) -> Path:
    """Write a model that was not trained to classify anything, and says that it has one output."""
    config = _config(folder)
    BertModel(config).save_pretrained(folder)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | {"id2label": {"0": "score"}}))
    return folder


def save_embedding(folder: Path) -> Path:
    """Write a model of texts."""
    torch.manual_seed(2)
    BertModel(_config(folder)).save_pretrained(folder)
    return folder


def save_sentencepiece(folder: Path, labels: Sequence[str]) -> Path:
    """Write a classifier of DeBERTa's kind, whose tokenizer is a file of sentencepiece and nothing else."""
    folder.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([SENTENCES.capitalize()] * 20),
        model_prefix=str(folder / "spm"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
        user_defined_symbols="[MASK]",
        **{f"{name}_id": place for place, name in enumerate(("pad", "bos", "eos", "unk"))},
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
    )
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    torch.manual_seed(1)
    config = DebertaV2Config(
        vocab_size=80,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        type_vocab_size=0,
        relative_attention=True,
        position_biased_input=False,
        pos_att_type=["p2c", "c2p"],
        initializer_range=1.0,
        id2label=dict(enumerate(labels)),
        label2id={name: place for place, name in enumerate(labels)},
    )
    DebertaV2ForSequenceClassification(config).half().save_pretrained(folder)
    return folder


def score_of(folder: Path, one: str, other: str) -> float:
    """Return the score of a cross-encoder: the sigmoid of its one output."""
    return float(_logits(folder, one, other).sigmoid())


def probabilities_of(folder: Path, one: str, other: str) -> dict[str, float]:
    """Return the probability of each label of a classifier, by its name."""
    logits = _logits(folder, one, other).squeeze(0)
    names = _loaded(AutoModelForSequenceClassification, folder)[1].config.id2label
    return {names[place]: float(p) for place, p in enumerate(logits.softmax(0))}


def cosine_of(folder: Path, one: str, other: str) -> float:
    """Return the cosine of the means of the last hidden states of two texts."""
    tokenizer, model = _loaded(AutoModel, folder)
    vectors = []
    for text in (one, other):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        vectors.append(states.mean(dim=0))
    a, b = vectors
    return float(a @ b / (a.norm() * b.norm()))


@cache
def _loaded(maker: Any, folder: Path) -> tuple[Any, Any]:
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)  # threads that wait for each other take the processor from the host
    return AutoTokenizer.from_pretrained(folder), maker.from_pretrained(folder).eval()


def _config(folder: Path, **more) -> BertConfig:
    folder.mkdir(parents=True, exist_ok=True)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SENTENCES.split()]
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(vocab)})
    tokenizer.model_max_length = MAX_TOKENS
    tokenizer.save_pretrained(folder)
    return BertConfig(
        vocab_size=len(vocab),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=1.0,  # with less, all pairs look the same
        **more,
    )


def _logits(folder: Path, one: str, other: str) -> torch.Tensor:
    tokenizer, model = _loaded(AutoModelForSequenceClassification, folder)
    with torch.no_grad():
        return model(**tokenizer([one], [other], return_tensors="pt")).logits  # "" is a text, not none
