"""Making a folder of safetensors out of a GGUF file; run as a process of its own, since it needs torch.

``python -m overnight.engines.transformers.dequantising FILE DTYPE FOLDER``
"""

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

# What ends a turn in the templates of today. A GGUF file names one token that ends an answer, which may be the one
# that ends a document; llama.cpp looks for these by their texts, and so do we.
_ENDS_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<|end_of_text|>")


def main() -> None:
    """Convert."""
    file, dtype, folder = sys.argv[1:]
    convert(Path(file), dtype, Path(folder))


def convert(file: Path, dtype: str, folder: Path) -> None:
    """Write the weights of a GGUF file in one dtype, with its tokenizer and its chat template, as safetensors."""
    transformers.utils.logging.disable_progress_bar()
    place, name = str(file.parent), file.name
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(
        place, gguf_file=name, dtype=getattr(torch, dtype), device_map={"": "cpu"}
    )
    _forget_the_quantization(model)
    model.generation_config.eos_token_id = sorted(
        _ends(model.generation_config.eos_token_id) | _ends_of_turn(tokenizer)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _forget_the_quantization(model: Any) -> None:
    """The weights are plain ones now; a model that says otherwise is not written."""
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _ends(named: int | list[int] | None) -> set[int]:
    return {named} if isinstance(named, int) else set(named or ())


def _ends_of_turn(tokenizer: Any) -> set[int]:
    vocabulary = tokenizer.get_vocab()
    return {vocabulary[text] for text in _ENDS_OF_TURN if text in vocabulary}


if __name__ == "__main__":
    main()
