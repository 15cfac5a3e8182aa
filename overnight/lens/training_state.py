"""What a training needs to go on as if nothing had happened: one file, there in full or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from overnight.store.files import atomic_bytes

_MOMENTS: Final = ("exp_avg", "exp_avg_sq", "step")  # of AdamW, of each parameter


@dataclass(slots=True)
class TrainingState:
    """How far a training is, beside the weights and the optimiser."""

    history: list[dict[str, Any]]  # measurements
    best: dict[str, Tensor]  # the weights with the lowest held-out loss
    step: int = 0
    since_best: int = 0  # measurements
    losses: list[float] = field(default_factory=list)  # since the last measurement


def write_state(
    path: Path, state: TrainingState, learned: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer
) -> None:
    """Write a state."""
    tensors = {f"learned.{name}": each.detach() for name, each in learned.items()}
    tensors |= {f"best.{name}": each for name, each in state.best.items()}
    for name, each in learned.items():
        tensors |= {f"{kind}.{name}": optimiser.state[each][kind] for kind in _MOMENTS}
    about = {"history": state.history, "step": state.step, "since_best": state.since_best}
    held = {name: each.cpu().contiguous() for name, each in tensors.items()}
    with atomic_bytes(path) as file:
        file.write(safetensors.torch.save(held, metadata={"about": json.dumps(about)}))


def read_state(
    path: Path, learned: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer
) -> TrainingState | None:
    """Return the state that was written, its weights and moments put in their places; None where there is none."""
    if not path.is_file():
        return None
    with safetensors.safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
        best = {}
        with torch.no_grad():
            for name, each in learned.items():
                each.copy_(file.get_tensor(f"learned.{name}"))
                best[name] = file.get_tensor(f"best.{name}").to(each.device)
                moments = {kind: file.get_tensor(f"{kind}.{name}") for kind in _MOMENTS}
                # The counter of steps stays on the processor, where the optimiser keeps it.
                optimiser.state[each] = {
                    kind: moment if kind == "step" else moment.to(each.device)
                    for kind, moment in moments.items()
                }
    return TrainingState(
        history=about["history"], best=best, step=about["step"], since_best=about["since_best"]
    )
