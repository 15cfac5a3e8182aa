"""A similarity model that both sides can load: a cross-encoder made on the spot, the same every time.

It says nothing sensible, and need not: both sides are to make the same of what it says. Its layers are those of a small
sentence-embedding model, so that it costs what such a model costs; its head is drawn from a seed and stretched, so that
one word more or less moves its score.
"""

from collections.abc import Sequence
from pathlib import Path

from overnight.engines.sources import Weights
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.text_model import TextModelKind, TextModelSpec
from overnight.text_models.sources import fetch_text_model

_LAYERS = "all-minilm-l6-v2"
_SEED = 20_251_121
_MOST_TOKENS = 2048  # of both texts together: nothing is cut, for the two sides would cut at other ends
_POSITIONS = "embeddings.position_embeddings.weight"


def save_cross_encoder(folder: Path, texts: Sequence[str]) -> TextModelSpec:
    """Write it, and return how it is named in a sweep.

    Args:
        folder: where to.
        texts: some like those that it will read; its head is stretched until the scores of a text and the same text
            without a word are spread out.
    """
    import torch  # noqa: PLC0415 - it takes seconds
    from transformers import AutoModel, AutoTokenizer, BertForSequenceClassification  # noqa: PLC0415
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    disable_progress_bar()
    layers: Weights = fetch_text_model(ConfigRoot(shipped_config()).text_model(_LAYERS))
    torch.manual_seed(_SEED)
    small = AutoModel.from_pretrained(layers.path, dtype=torch.float32, local_files_only=True)
    config = small.config
    repeats = _MOST_TOKENS // config.max_position_embeddings
    config.max_position_embeddings = _MOST_TOKENS
    config.id2label, config.label2id = {0: "score"}, {"score": 0}
    model = BertForSequenceClassification(config).eval()
    state = small.state_dict()
    model.bert.load_state_dict(state | {_POSITIONS: state[_POSITIONS].repeat(repeats, 1)})
    tokenizer = AutoTokenizer.from_pretrained(layers.path, local_files_only=True)
    tokenizer.model_max_length = _MOST_TOKENS
    pairs = [pair for text in texts for pair in _without_each_word(text)]
    with torch.no_grad():
        logits = model(**tokenizer(*zip(*pairs, strict=True), padding=True, return_tensors="pt")).logits
        scale = 1 / float(logits.std())
        model.classifier.weight.mul_(scale)
        model.classifier.bias.copy_((model.classifier.bias - logits.mean()) * scale)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return TextModelSpec(
        name="cross-encoder-from-a-seed", kind=TextModelKind.CROSS_ENCODER, source=str(folder), device="cpu"
    )


def _without_each_word(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return [(text, " ".join(words[:place] + words[place + 1 :])) for place in range(len(words))]
