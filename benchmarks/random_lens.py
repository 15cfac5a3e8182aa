"""A lens with random weights and vectors for it, for measurements of speed."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from overnight.activations.architecture import Architecture
from overnight.lens.folder import LensDescription
from overnight.lens.loading import FittedLens, save_lens
from overnight.lens.reading_out import ReadingOut, TextStates
from overnight.lens.soft_prompt import SoftPrompt
from overnight.spec.lens import LensSpec


def write(
    folder: Path, vectors_file: Path, n_vectors: int, weights: Path, *, layer: int, soft_tokens: int
) -> None:
    """Write both.

    Args:
        folder: of the lens.
        vectors_file: that the vectors go to.
        n_vectors: how many.
        weights: folder of the model.
        layer: of the vectors.
        soft_tokens: of a vector; of about the size of the model's embeddings.
    """
    draw = torch.Generator().manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(weights, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32, local_files_only=True).eval()
    states = TextStates(model, Architecture(model), tokenizer, layer)
    size = float(model.get_input_embeddings().weight.detach().std())
    width = states.width
    decoder = SoftPrompt(
        model,
        torch.randn((soft_tokens, width, width), generator=draw) * size / width**0.5,
        torch.zeros((soft_tokens, width)),
        torch.zeros(width),
        torch.ones(width),
    )
    encoder = ReadingOut(states, torch.eye(width), torch.zeros(width), torch.zeros(width))
    spec = LensSpec.model_validate(
        {
            "name": "random",
            "layer": layer,
            "decoder": {"kind": "soft_prompt", "soft_tokens": soft_tokens, "lora_rank": 0},
            "fit": {"datasets": ["none"]},
        }
    )
    described = LensDescription(
        lens=spec, model=weights.name, model_digest="0" * 64, width=width, data_digest="0" * 64
    )
    folder.mkdir(parents=True)
    save_lens(folder, FittedLens(decoder, encoder), described)
    save_file({"vectors": torch.randn((n_vectors, width), generator=draw)}, vectors_file)
