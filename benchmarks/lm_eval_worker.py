"""lm-evaluation-harness at work, in its own environment: ``python lm_eval_worker.py SETTINGS.json RESULT.json``.

Nothing of this project is imported here. The harness does all it does by itself, with its model type ``hf``; only
its phase of generation is timed, ``HFLM.generate_until`` from the first prompt to the last text, so that neither the
load of the model nor that of the task nor the scoring is in it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager


class TimedHFLM(HFLM):  # type: ignore[misc]
    """The harness's own model, with a stopwatch around its answers."""

    def timed(self) -> dict[str, Any]:
        """Return what the last evaluation came to."""
        return {"wall_s": self.wall_s, "cpu_s": self.cpu_s, "texts": self.texts}

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer, once it is sure that the model sees the ids that everybody's model sees."""
        for request in requests:
            found = self.tok_batch_encode([request.args[0]])[0][0].tolist()
            if found != request.doc["ids"]:
                raise ValueError(
                    f"{request.doc['custom_id']}: lm-eval asks {found}, not {request.doc['ids']}"
                )
        started, cpu = time.perf_counter(), time.process_time()
        answers: list[str] = super().generate_until(requests, disable_tqdm)
        self.wall_s, self.cpu_s = time.perf_counter() - started, time.process_time() - cpu
        self.texts = {r.doc["custom_id"]: text for r, text in zip(requests, answers, strict=True)}
        return answers


def main() -> None:
    """Evaluate with each batch size in turn, with one model."""
    settings_file, result_file = map(Path, sys.argv[1:])
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    torch.set_num_threads(settings["threads"])
    model = TimedHFLM(pretrained=settings["folder"], device="cpu", dtype="float32", batch_size=1)
    tasks = TaskManager(include_path=settings["tasks"], include_defaults=False)
    runs = []
    for batch_size in settings["batch_sizes"]:
        model.batch_size_per_gpu = batch_size
        simple_evaluate(
            model=model,
            tasks=[settings["task"]],
            task_manager=tasks,
            bootstrap_iters=0,
            log_samples=False,
        )
        runs.append({"batch_size": batch_size, "answers": model.timed()})
    result_file.write_text(json.dumps({"runs": runs}), encoding="utf-8")


if __name__ == "__main__":
    main()
