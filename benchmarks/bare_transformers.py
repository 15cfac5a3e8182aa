"""transformers without any of our machinery: ``python bare_transformers.py SETTINGS.json RESULT.json``.

``generate``, greedily, one prompt after another.
"""

import json
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    """Answer every prompt."""
    settings_file, result_file = map(Path, sys.argv[1:])
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    torch.set_num_threads(settings["threads"])
    tokenizer = AutoTokenizer.from_pretrained(settings["folder"], local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        settings["folder"], dtype=torch.float32, local_files_only=True
    ).eval()
    texts = {}
    started, cpu = time.perf_counter(), time.process_time()
    for prompt in settings["prompts"]:
        ids = torch.tensor([prompt["ids"]])
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=settings["max_new_tokens"],
            pad_token_id=tokenizer.pad_token_id,
        )
        texts[prompt["custom_id"]] = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    timed = {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}
    result_file.write_text(json.dumps({**timed, "texts": texts}), encoding="utf-8")


if __name__ == "__main__":
    main()
