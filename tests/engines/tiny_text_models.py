"""Tiny text-pair models with random weights, and what they say of a pair by its definition, computed pair by pair."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
)

SENTENCES = "who painted it ? paris is the capital of france not lyon and a city in no yes"
MAX_TOKENS = 24


def save_classifier(folder: Path, labels: Sequence[str], *, seed: int = 1) -> Path:
    """Write a classifier of pairs with these outputs."""
    torch.manual_seed(seed)
    config = _config(folder, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)})
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        # As they are made, weights are so small that all pairs look the same.
        for parameter in model.parameters():
            parameter.mul_(6)
    model.save_pretrained(folder)
    return folder


def save_headless(folder: Path) -> Path:
    """Write a model that was not trained to classify anything, and says that it has one output."""
    config = _config(folder)
    BertModel(config).save_pretrained(folder)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | {"id2label": {"0": "score"}}))
    return folder


def score_of(folder: Path, one: str, other: str) -> float:
    """Return the score of a cross-encoder: the sigmoid of its one output."""
    return float(_logits(folder, one, other).sigmoid())


def probabilities_of(folder: Path, one: str, other: str) -> dict[str, float]:
    """Return the probability of each label of a classifier, by its name."""
    logits = _logits(folder, one, other).squeeze(0)
    names = AutoModelForSequenceClassification.from_pretrained(folder).config.id2label
    return {names[place]: float(p) for place, p in enumerate(logits.softmax(0))}


def cosine_of(folder: Path, one: str, other: str) -> float:
    """Return the cosine of the means of the last hidden states of two texts."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    vectors = []
    for text in (one, other):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        vectors.append(states.mean(dim=0))
    a, b = vectors
    return float(a @ b / (a.norm() * b.norm()))


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
        **more,
    )


def _logits(folder: Path, one: str, other: str) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(one, other, return_tensors="pt")).logits
