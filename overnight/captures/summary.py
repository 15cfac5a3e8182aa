"""``summary.csv``: a row a prompt, trait and point, with what its curve over the tokens does."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from overnight.captures.prompt import CapturedPrompt, layer_and_sublayer
from overnight.runs.tables import cell, table_writer
from overnight.traits.dynamics import commitment, persistence, scalar, velocity

Series = NDArray[np.floating[Any]]
COLUMNS: Final = (
    "prompt_id",
    "trait",
    "layer",
    "sublayer",
    "n_prompt_tokens",
    "n_reply_tokens",
    "mean_prompt",
    "mean_reply",
    "last_prompt",
    "peak_reply",
    "peak_token",
    "peak_position",
    "mean_velocity_abs",
    "commitment_position",
    "persistence_tokens",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamics:
    """What is asked of the curve of a reply; each takes the projections ``[T]`` of its tokens."""

    velocity: Callable[[Series], Series]
    commitment_position: Callable[[Series], int | None]
    persistence: Callable[[Series], int | None]


def known_dynamics() -> Dynamics:
    """Return the definitions of `overnight.traits.dynamics`, whose undefined values are NaN."""
    return Dynamics(velocity=velocity, commitment_position=_commitment, persistence=_persistence)


def _commitment(reply: Series) -> int | None:
    found = scalar(commitment(reply))
    return None if found is None else int(found) + 1  # its entry t is the bend at token t + 1


def _persistence(reply: Series) -> int | None:
    found = scalar(persistence(reply))
    return None if found is None else int(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveSummary:
    """One row; None where a value is undefined."""

    prompt_id: str
    trait: str
    layer: int
    sublayer: str
    n_prompt_tokens: int
    n_reply_tokens: int
    mean_prompt: float | None
    mean_reply: float | None
    last_prompt: float | None
    peak_reply: float | None  # of the largest magnitude, with its sign; the first of several
    peak_token: str | None
    peak_position: int | None  # position_of_state: over prompt and reply, from 0
    mean_velocity_abs: float | None  # of the reply, per token
    commitment_position: int | None  # position_of_state
    persistence_tokens: int | None


def write_summary(path: Path, prompts: Iterable[CapturedPrompt], dynamics: Dynamics | None = None) -> int:
    """Write the summary of a trial, prompt by prompt; return how many rows it has."""
    n_rows = 0
    with table_writer(path, COLUMNS) as table:
        for prompt in prompts:
            for row in summarised(prompt, dynamics or known_dynamics()):
                table.writerow([cell(getattr(row, name)) for name in COLUMNS])
                n_rows += 1
    return n_rows


def summarised(prompt: CapturedPrompt, dynamics: Dynamics) -> Iterator[CurveSummary]:
    """Yield the rows of a prompt, by point and trait.

    A curve with an undefined value has no mean, no peak and no dynamics over the part in which that value lies.
    """
    for place, point in enumerate(prompt.points):
        for number, trait in enumerate(prompt.traits):
            curve = prompt.projections[:, place, number].astype(np.float64)
            yield _summary(prompt, point, trait, curve, dynamics)


def _summary(
    prompt: CapturedPrompt, point: str, trait: str, curve: Series, dynamics: Dynamics
) -> CurveSummary:
    layer, sublayer = layer_and_sublayer(point)
    asked, reply = curve[: prompt.n_prompt], curve[prompt.n_prompt :]
    is_whole = reply.size > 0 and bool(np.isfinite(reply).all())
    peak = prompt.n_prompt + int(np.argmax(np.abs(reply))) if is_whole else None
    velocity = dynamics.velocity(reply) if is_whole else np.empty(0)
    commitment = dynamics.commitment_position(reply) if is_whole else None
    return CurveSummary(
        prompt_id=prompt.prompt_id,
        trait=trait,
        layer=layer,
        sublayer=sublayer,
        n_prompt_tokens=prompt.n_prompt,
        n_reply_tokens=reply.size,
        mean_prompt=mean_of(asked),
        mean_reply=mean_of(reply),
        last_prompt=_known(asked[-1]) if asked.size else None,
        peak_reply=None if peak is None else float(curve[peak]),
        peak_token=None if peak is None else prompt.tokens[peak],
        peak_position=peak,
        mean_velocity_abs=mean_of(np.abs(velocity)),
        commitment_position=None if commitment is None else prompt.n_prompt + int(commitment),
        persistence_tokens=dynamics.persistence(reply) if is_whole else None,
    )


def mean_of(values: Series) -> float | None:
    """Return the mean, or None where there is no value or one of them is undefined."""
    return float(values.mean()) if values.size and np.isfinite(values).all() else None


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
