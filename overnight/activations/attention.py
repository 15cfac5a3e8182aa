"""What the weights of attention say of each token."""

import torch
from torch import Tensor

N_MEASURES = 4
"""Entropy in nats; share on the first token, on the prompt, on the token before."""


def summarised(weights: Tensor, n_prompt: int) -> Tensor:
    """Return ``[tokens, 4]``, float32, of weights ``[heads, tokens, tokens]``: the mean over heads of each measure.

    The share on the token before is undefined (NaN) at the first token, and the share on the prompt where there is
    none.

    Args:
        weights: of the reading token, then of the token that is read.
        n_prompt: tokens of the prompt.
    """
    shares = weights.float()
    found = shares.new_full((shares.shape[1], N_MEASURES), torch.nan)
    found[:, 0] = torch.special.entr(shares).sum(dim=-1).mean(dim=0)
    found[:, 1] = shares[:, :, 0].mean(dim=0)
    if n_prompt:
        found[:, 2] = shares[:, :, :n_prompt].sum(dim=-1).mean(dim=0)
    found[1:, 3] = shares.diagonal(offset=-1, dim1=1, dim2=2).mean(dim=0)
    return found
