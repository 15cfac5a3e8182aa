"""Gradient steps on a soft prompt: to have the model say what stood in the text, token by token.

What is minimised is the mean negative log-likelihood (nats a token) of the end of the text at which a vector was read,
given the vector. AdamW of Loshchilov & Hutter (2019), arXiv:1711.05101, without decay; the learning rate rises over the
first steps and then falls as half a cosine.
"""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from overnight.engines.transformers.memory import is_out_of_memory, release
from overnight.errors import OutOfMemory
from overnight.lens.soft_prompt import SoftPrompt
from overnight.lens.training_state import TrainingState, read_state, write_state
from overnight.spec.lens import LensFit

_IGNORED: Final = -100  # what cross entropy leaves out
_WARM_UP: Final = 0.1  # of the steps
_PROJECTION_RATE: Final = 10.0  # of the projection, over that of low-rank changes, in units of its own size
_LARGEST_GRADIENT: Final = 1.0  # its norm is cut to that
_MOST_MEASURED: Final = 128  # held-out vectors


@dataclass(frozen=True, slots=True)
class Taught:
    """Vectors, and the tokens that are to be said of them."""

    vectors: Tensor  # [n, D] float32
    targets: Sequence[tuple[int, ...]]  # n, none empty

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How far a decoder is."""

    step: int
    loss: float | None  # mean since the measurement before, nats a token; None before the first step
    held_out_loss: float

    def to_json(self) -> dict[str, Any]:
        """Return its row."""
        return {"step": self.step, "loss": self.loss, "held_out_loss": self.held_out_loss}


@dataclass(slots=True)
class Training:
    """The training of one decoder; it goes on from where its state was last written.

    Args:
        model: around which the decoder is; none of its own weights changes.
        decoder: what learns, as it begins.
        fit: how.
        state_path: where the state is written at each measurement, in full or not at all.
    """

    model: Any
    decoder: SoftPrompt
    fit: LensFit
    state_path: Path
    rows: int = field(init=False)  # vectors that fit at a time

    def __post_init__(self) -> None:
        self.rows = self.fit.batch_size

    def run(
        self, taught: Taught, held_out: Taught, on_measurement: Callable[[Measurement], None]
    ) -> list[Measurement]:
        """Train, leave the decoder at its best on held-out vectors, and return all measurements.

        Raises:
            OutOfMemory: not even one vector at a time fits.
        """
        learned = self._learned()
        optimiser = torch.optim.AdamW(self._groups(learned), weight_decay=0.0, betas=(0.9, 0.98))
        held_out = Taught(held_out.vectors[:_MOST_MEASURED], held_out.targets[:_MOST_MEASURED])
        state = read_state(self.state_path, learned, optimiser)
        if state is None:
            with torch.no_grad():
                first = Measurement(step=0, loss=None, held_out_loss=self._mean_loss(held_out))
            state = TrainingState(history=[first.to_json()], best=_copied(learned))
            on_measurement(first)
        for step in range(state.step, self.fit.steps):
            if state.since_best >= self.fit.patience:
                break
            for group in optimiser.param_groups:
                group["lr"] = self.fit.learning_rate * group["scale"] * _schedule(step, self.fit.steps)
            state.losses.append(self._step(taught, step, learned, optimiser))
            state.step = step + 1
            if state.step % self.fit.measure_every == 0 or state.step == self.fit.steps:
                on_measurement(self._measured(state, held_out, learned))
                write_state(self.state_path, state, learned, optimiser)
        with torch.no_grad():
            for name, each in learned.items():
                each.copy_(state.best[name])
        return [Measurement(**row) for row in state.history]

    def _measured(
        self, state: TrainingState, held_out: Taught, learned: dict[str, nn.Parameter]
    ) -> Measurement:
        with torch.no_grad():
            loss = self._mean_loss(held_out)
        found = Measurement(
            step=state.step, loss=math.fsum(state.losses) / len(state.losses), held_out_loss=loss
        )
        if loss < min(row["held_out_loss"] for row in state.history):
            state.best, state.since_best = _copied(learned), 0
        else:
            state.since_best += 1
        state.history.append(found.to_json())
        state.losses = []
        return found

    def _learned(self) -> dict[str, nn.Parameter]:
        learned = {"decoder.weight": self.decoder.weight, "decoder.bias": self.decoder.bias}
        adapter = self.decoder.adapter
        return learned | ({} if adapter is None else adapter.weights())

    def _groups(self, learned: dict[str, nn.Parameter]) -> list[dict[str, Any]]:
        """Return the parameters with the share of the learning rate that each takes.

        AdamW moves every number by about the learning rate, whatever its size. The numbers of the projection are small:
        those of a soft token are of the size of the embeddings', and a standardised vector has D numbers of size 1.
        """
        table: Tensor = self.model.get_input_embeddings().weight
        size = float(table.float().square().mean().sqrt())
        scales = {
            "decoder.weight": _PROJECTION_RATE * size / math.sqrt(self.decoder.width),
            "decoder.bias": _PROJECTION_RATE * size,
        }
        return [{"params": [each], "scale": scales.get(name, 1.0)} for name, each in learned.items()]

    def _step(
        self,
        taught: Taught,
        step: int,
        learned: dict[str, nn.Parameter],
        optimiser: torch.optim.Optimizer,
    ) -> float:
        """Take one step; return the mean loss of its batch before it."""
        places = _batch(len(taught), self.fit.batch_size, step, self.fit.seed)
        while True:
            try:
                optimiser.zero_grad(set_to_none=True)
                loss = self._accumulated(taught, places)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).strip().partition("\n")[0]
            release(self.model.device)
            if self.rows == 1:
                raise OutOfMemory(f"a lens cannot learn from even one vector at a time ({reason})")
            self.rows = (self.rows + 1) // 2
        nn.utils.clip_grad_norm_(learned.values(), _LARGEST_GRADIENT)
        optimiser.step()
        return loss

    def _accumulated(self, taught: Taught, places: Sequence[int]) -> float:
        """Add the gradient of a batch's mean loss up, part by part, and return that loss."""
        n_tokens = sum(len(taught.targets[place]) for place in places)
        total = 0.0
        for first in range(0, len(places), self.rows):
            loss = self._loss(taught, places[first : first + self.rows]) / n_tokens
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _mean_loss(self, taught: Taught) -> float:
        n_tokens = sum(map(len, taught.targets))
        parts = (
            float(self._loss(taught, range(first, min(first + self.rows, len(taught)))))
            for first in range(0, len(taught), self.rows)
        )
        return math.fsum(parts) / n_tokens

    def _loss(self, taught: Taught, places: Sequence[int]) -> Tensor:
        """Return the sum of the negative log-likelihoods of the tokens of some texts."""
        device = self.model.device
        targets = [taught.targets[place] for place in places]
        longest = max(map(len, targets))
        ids = torch.tensor([[*each, *[0] * (longest - len(each))] for each in targets], device=device)
        lengths = torch.tensor([[len(each)] for each in targets], device=device)
        is_said = torch.arange(longest, device=device).expand(len(targets), -1) < lengths
        with self.decoder.decoding():
            soft = self.decoder.soft_tokens(taught.vectors[list(places)].to(device))
            said = self.model.get_input_embeddings()(ids[:, :-1])
            # Padding is behind what it belongs to, so that nothing that counts attends to it.
            takes = inspect.signature(self.model.forward).parameters
            last_only = {"logits_to_keep": longest} if "logits_to_keep" in takes else {}
            output = self.model(inputs_embeds=torch.cat([soft, said], dim=1), use_cache=False, **last_only)
            return nn.functional.cross_entropy(
                output.logits[:, -longest:].float().flatten(0, 1),
                ids.masked_fill(~is_said, _IGNORED).flatten(),
                ignore_index=_IGNORED,
                reduction="sum",
            )


def _schedule(step: int, n_steps: int) -> float:
    """Return the share of the learning rate at a step, from 0."""
    n_warm = max(1, round(_WARM_UP * n_steps))
    if step < n_warm:
        return (step + 1) / n_warm
    return 0.5 * (1 + math.cos(math.pi * (step - n_warm) / max(1, n_steps - n_warm)))


def _batch(n: int, size: int, step: int, seed: int) -> list[int]:
    """Return the places of a step: all are seen once before any is seen again, in an order that the seed gives."""
    places: list[int] = []
    for at in range(step * size, step * size + min(size, n)):
        epoch, place = divmod(at, n)
        places.append(_order(n, epoch, seed)[place])
    return places


@functools.lru_cache(maxsize=2)  # a batch may be of two epochs
def _order(n: int, epoch: int, seed: int) -> tuple[int, ...]:
    draw = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return tuple(torch.randperm(n, generator=draw).tolist())


def _copied(learned: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in learned.items()}
