"""A tiny Llama with random weights and a tokenizer of whole words, which a test makes in milliseconds."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

_NOUNS = ["cat", "dog", "house", "tree", "city", "name", "X"]
_OTHERS = ["the", "a", "saw", "ate", "big", "red", "in", "on", "and", "ran", "far", "is", "of", "it", "was"]
WORDS = [*_NOUNS, *_OTHERS, ".", ":", ","]
WIDTH, N_LAYERS = 16, 4


def tokenizer(*, begins: bool = False) -> PreTrainedTokenizerFast:
    """Return one of bytes and of some words; with a special token in front of each text where it ``begins``."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [f"{space}{word}" for word in WORDS for space in ("", "\u0120")]
    vocabulary = {name: place for place, name in enumerate(dict.fromkeys(["<s>", "</s>", *alphabet, *words]))}
    own = Tokenizer(models.BPE(vocabulary, _merges(words, vocabulary)))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    if begins:
        own.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=own, bos_token="<s>", eos_token="</s>")


def model(seed: int = 3) -> transformers.PreTrainedModel:
    """Return a Llama whose blocks add about what they read."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer()),
        hidden_size=WIDTH,
        intermediate_size=24,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
    )
    made = transformers.AutoModelForCausalLM.from_config(config).eval()
    for weights in made.parameters():
        weights.data += torch.randn_like(weights) * (0.2 if weights.dim() > 1 else 0.1)
    return made


def save(folder: Path, *, seed: int = 3) -> Path:
    """Write both into a folder, as the hub has them."""
    model(seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def _merges(words: list[str], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Return what joins the bytes of each word, letter by letter; what comes to be on the way is a token as well."""
    merges = dict.fromkeys((word[:end], word[end]) for word in words for end in range(1, len(word)))
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    return list(merges)
