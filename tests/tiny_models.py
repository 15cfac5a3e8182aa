"""A tiny model on disk, with a lens that fits it, for sweeps whose engine is real and whose weights are random."""

import textwrap
from pathlib import Path
from typing import Any

LAYER = 2  # whose states the lens says in words
TEMPLATE = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"


def write_model(folder: Path, *, context_tokens: int = 128) -> tuple[Any, Any]:
    """Write ``tiny`` and ``models/tiny.yaml`` into the folder of a sweep; return the model and its tokenizer."""
    from tests.engines import tiny_decoders

    tokenizer = tiny_decoders.tokenizer()
    tokenizer.chat_template = TEMPLATE
    model = tiny_decoders.model()
    model.config.max_position_embeddings = context_tokens
    model.save_pretrained(folder / "tiny")
    tokenizer.save_pretrained(folder / "tiny")
    (folder / "models").mkdir()
    (folder / "models" / "tiny.yaml").write_text(
        textwrap.dedent(f"""
            engine: transformers
            source: ../tiny
            family: llama
            instruct: true
            params_billion: 0.001
            quantization: fp32
            context_tokens: {context_tokens}
        """)
    )
    return model, tokenizer


def write_lens(folder: Path, model: Any, tokenizer: Any) -> None:
    """Write ``fitted``, a patched lens whose encoder adds nothing to what the model makes of a text."""
    import torch

    from overnight.activations.architecture import Architecture
    from overnight.engines.sources import with_digest
    from overnight.ids import digest
    from overnight.lens.folder import LensDescription
    from overnight.lens.loading import FittedLens, save_lens
    from overnight.lens.patched import Patched
    from overnight.lens.reading_out import ReadingOut, TextStates
    from overnight.planning.identity import weights_identity
    from overnight.spec.config_root import ConfigRoot
    from overnight.spec.execution import EngineSettings
    from overnight.spec.lens import LensSpec, PatchedDecoder

    decoder = PatchedDecoder(prompt="the cat is a X:", placeholder="X", layer=1)
    width = model.config.hidden_size
    encoder = ReadingOut(
        TextStates(model, Architecture(model), tokenizer, LAYER),
        torch.eye(width),
        torch.zeros(width),
        torch.zeros(width),
    )
    spec = LensSpec.model_validate(
        {
            "name": "patched",
            "layer": LAYER,
            "text_tokens": 6,
            "decoder": decoder.model_dump(),
            "fit": {"datasets": ["others"]},
        }
    )
    held = with_digest(ConfigRoot(folder).model("tiny"), EngineSettings())
    save_lens(
        folder / "fitted",
        FittedLens(Patched(model, Architecture(model), tokenizer, decoder), encoder),
        LensDescription(
            lens=spec,
            model="tiny",
            model_digest=digest(weights_identity(held)),
            width=width,
            data_digest="0" * 64,
        ),
    )
