"""transformers' own ``generate`` behind the soft tokens of vectors: ``bare_drawing.py SETTINGS.json RESULT.json``.

Sampling by the whole distribution, ``num_return_sequences`` texts of a vector at a time, with neither log-probabilities
nor random numbers of each text's own.
"""

import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from overnight.lens.loading import load_lens


def main() -> None:
    """Draw the texts of every vector."""
    settings_file, result_file = map(Path, sys.argv[1:])
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    torch.set_num_threads(settings["threads"])
    tokenizer = AutoTokenizer.from_pretrained(settings["folder"], local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        settings["folder"], dtype=torch.float32, local_files_only=True
    ).eval()
    lens = load_lens(Path(settings["lens"]), model, tokenizer, model.device)
    vectors = load_file(settings["vectors"])["vectors"]
    n_tokens = 0
    started, cpu = time.perf_counter(), time.process_time()
    for vector in vectors:
        soft = lens.decoder.soft_tokens(vector[None])
        for _ in range(settings["n_draws"] // settings["rows"]):
            texts = model.generate(
                inputs_embeds=soft,
                attention_mask=torch.ones(soft.shape[:2], dtype=torch.long),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                num_return_sequences=settings["rows"],
                max_new_tokens=settings["max_new_tokens"],
                pad_token_id=tokenizer.pad_token_id,
            )
            n_tokens += int((texts != tokenizer.pad_token_id).sum())
    timed = {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}
    result_file.write_text(json.dumps({**timed, "n_tokens": n_tokens}), encoding="utf-8")


if __name__ == "__main__":
    main()
