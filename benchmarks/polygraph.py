"""LM-Polygraph as an oracle and a baseline: its environment, and how it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from environments import environment_of, run_worker

_WORKER = Path(__file__).parent / "polygraph_worker.py"
# It names no upper bounds. torch and transformers are ours, to the patch: what is compared is what is done with them.
_FIXED = ("lm-polygraph==0.7.0", "torch==2.13.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredByPolygraph:
    """One answer as LM-Polygraph gave and measured it."""

    text: str
    n_tokens: int  # with the one that ended it
    values: dict[str, float | None]  # by the estimator's name; None where it is no number


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygraphRun:
    """What a pass over all prompts came to."""

    batch_size: int
    wall_s: float
    cpu_s: float
    generating_s: float
    relating_s: float  # for the relevance of the tokens
    answers: dict[str, MeasuredByPolygraph]  # by custom id

    @property
    def per_minute(self) -> float:
        """Items a minute."""
        return 60 * len(self.answers) / self.wall_s


def pins() -> tuple[str, ...]:
    """Return what is installed for it."""
    return (*_FIXED, *(f"{name}=={version(name)}" for name in ("transformers", "tokenizers")))


def environment(cache: Path) -> Path:
    """Return the Python of its environment, made below a folder where it is not there yet.

    Raises:
        NotMeasuredError: pip cannot install it.
    """
    return environment_of("lm-polygraph", pins(), cache)


def ask_polygraph(
    python: Path, settings: dict[str, Any], sizes: Sequence[int], scratch: Path
) -> list[PolygraphRun]:
    """Have it answer and measure all prompts with each batch size, in one process.

    Args:
        python: of its environment.
        settings: ``folder`` of the weights, ``cross_encoder``, ``threads``, ``max_new_tokens``, ``stop`` and
            ``prompts``, each with ``custom_id``, ``prompt`` and ``ids``.
        sizes: how many prompts go through the model at once.
        scratch: for what it reads and writes.

    Raises:
        NotMeasuredError: it failed, or it sees other ids than we do.
    """
    more = {"HF_HOME": str(scratch / "hf"), "HF_HUB_OFFLINE": "1"}
    found = run_worker(python, _WORKER, settings | {"batch_sizes": list(sizes)}, scratch, more)
    return [
        PolygraphRun(
            **{name: value for name, value in run.items() if name != "answers"},
            answers={name: MeasuredByPolygraph(**answer) for name, answer in run["answers"].items()},
        )
        for run in found["runs"]
    ]
