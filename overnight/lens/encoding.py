"""Vectors of texts, each different text once, those of like length together."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from overnight.errors import BadResponse
from overnight.lens.fitting_rows import FittingRows
from overnight.lens.protocol import Lens

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Vectors of texts, and what was read for them."""

    vectors: Tensor  # [n, D] float32, on the CPU
    n_tokens: int  # of the different texts


@torch.inference_mode()
def encode(
    lens: Lens,
    texts: Sequence[Ids],
    most_rows: int,
    rows: FittingRows,
    is_wanted: Callable[[], bool] = lambda: True,
    around_pass: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Encoded | None:
    """Return the vector of each text; None where nobody waits for them any more.

    Args:
        lens: whose encoder reads.
        texts: as their tokens; one without any has a vector too.
        most_rows: texts at a time.
        rows: texts that fit at a time.
        is_wanted: asked before each batch.
        around_pass: entered while a batch is computed.

    Raises:
        OutOfMemory: not even one text at a time fits.
        BadResponse: a vector is not made of numbers.
    """
    different = dict.fromkeys(texts)
    # The longest first: where memory is too small for them, that shows at once.
    left = sorted(different, key=lambda ids: (-len(ids), ids))
    found: dict[Ids, Tensor] = {}
    while left:
        if not is_wanted():
            return None
        batch = left[: rows.of(most_rows)]

        def read(batch: Sequence[Ids] = batch) -> None:
            with around_pass():
                vectors = lens.encode(batch).float().cpu()
            found.update(zip(batch, vectors, strict=True))

        if rows.fit(len(batch), read):
            left = left[len(batch) :]
    vectors = torch.stack([found[ids] for ids in texts]) if texts else torch.empty((0, lens.width))
    if not vectors.isfinite().all():
        raise BadResponse(
            "a vector of a text is not made of numbers; a dtype of more range (bfloat16, float32) may help"
        )
    return Encoded(vectors, sum(map(len, different)))
