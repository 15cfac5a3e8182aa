"""LM-Polygraph at work, in its own environment: ``python polygraph_worker.py SETTINGS.json RESULT.json``.

Nothing of this project is imported here. Its own model class answers, its own calculators and estimators measure,
called in the order in which its ``UEManager`` calls them. Three things are set otherwise than by default: no
attention maps and hidden states are kept (no measure here reads them); no further answers are drawn (its calculator of
token similarity compares samples as well, TokenSAR reads none of that, so it gets one empty sample an item); and an
answer may end after its first token (by default two tokens at least are asked for, hard-coded).
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lm_polygraph.estimators import MaximumSequenceProbability, Perplexity, TokenSAR
from lm_polygraph.stat_calculators import CrossEncoderSimilarityMatrixCalculator, GreedyProbsCalculator
from lm_polygraph.utils.generation_parameters import GenerationParameters
from lm_polygraph.utils.model import WhiteboxModel
from transformers import AutoModelForCausalLM, AutoTokenizer

_ESTIMATORS = (MaximumSequenceProbability(), Perplexity(), TokenSAR())
Prompts = list[dict[str, Any]]


class FreeToEnd(WhiteboxModel):  # type: ignore[misc]
    """LM-Polygraph's own model, whose answers may be one token long."""

    def generate(self, **args: Any) -> Any:
        """Generate, from the first token on with the probabilities of the model alone."""
        return super().generate(**(args | {"min_new_tokens": 0}))


class Measuring:
    """A model, and what measures its answers."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Load both models."""
        folder = settings["folder"]
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", local_files_only=True)
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        parameters = GenerationParameters(stop_strings=list(settings["stop"]))
        self._model = FreeToEnd(network.eval(), tokenizer, folder, generation_parameters=parameters)
        self._max_new_tokens = settings["max_new_tokens"]
        self._greedy = GreedyProbsCalculator(output_attentions=False)
        self._similarity = CrossEncoderSimilarityMatrixCalculator(
            cross_encoder_name=settings["cross_encoder"]
        )
        # It loads its model when it is first called.
        self._similarity(
            {"input_texts": ["a"], "greedy_tokens": [[0, 0]], **_no_samples(1)}, ["a"], self._model
        )

    def require_same_ids(self, prompts: Prompts) -> None:
        """Be sure that the model sees the ids that everybody's model sees.

        Raises:
            ValueError: it sees others.
        """
        for prompt in prompts:
            found = self._model.tokenize([prompt["prompt"]])["input_ids"][0].tolist()
            if found != prompt["ids"]:
                raise ValueError(f"{prompt['custom_id']}: LM-Polygraph asks {found}, not {prompt['ids']}")

    def run(self, prompts: Prompts, batch_size: int) -> dict[str, Any]:
        """Answer and measure all prompts, some at once; only that is timed."""
        answers = {}
        generating_s = relating_s = 0.0
        started, cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            texts = [prompt["prompt"] for prompt in batch]
            stats: dict[str, Any] = {"input_texts": texts, **_no_samples(len(texts))}
            began = time.perf_counter()
            stats |= self._greedy(stats, texts, self._model, self._max_new_tokens)
            generated = time.perf_counter()
            stats |= self._similarity(stats, texts, self._model, self._max_new_tokens)
            generating_s += generated - began
            relating_s += time.perf_counter() - generated
            values = {str(estimator): estimator(stats).tolist() for estimator in _ESTIMATORS}
            for place, prompt in enumerate(batch):
                answers[prompt["custom_id"]] = {
                    "text": stats["greedy_texts"][place],
                    "n_tokens": len(stats["greedy_tokens"][place]),
                    "values": {name: _finite(found[place]) for name, found in values.items()},
                }
        return {
            "batch_size": batch_size,
            "wall_s": time.perf_counter() - started,
            "cpu_s": time.process_time() - cpu,
            "generating_s": generating_s,
            "relating_s": relating_s,
            "answers": answers,
        }


def _no_samples(n_items: int) -> dict[str, Any]:
    return {"sample_tokens": [[] for _ in range(n_items)], "sample_texts": [[""] for _ in range(n_items)]}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def main() -> None:
    """Measure with each batch size in turn, with one model."""
    settings_file, result_file = map(Path, sys.argv[1:])
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    torch.set_num_threads(settings["threads"])
    measuring = Measuring(settings)
    measuring.require_same_ids(settings["prompts"])
    runs = [measuring.run(settings["prompts"], size) for size in settings["batch_sizes"]]
    result_file.write_text(json.dumps({"runs": runs}, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main()
