"""What else the tokens of an answer could have been."""

from collections.abc import Sequence
from typing import Any

import torch


@torch.inference_mode()
def best_at_each_place(
    model: Any, prompt: Sequence[int], answer: Sequence[int], n_best: int
) -> list[list[tuple[int, float]]]:
    """Return the likeliest tokens at each place of an answer, given all that stands before it.

    Args:
        model: a causal language model of transformers.
        prompt: ids, at least one.
        answer: ids that follow the prompt.
        n_best: of each place.

    Returns:
        For each token of the answer (id, log-probability in nats) of ``n_best`` tokens, the likeliest first.
    """
    if not answer:
        return []
    ids = torch.tensor([[*prompt, *answer[:-1]]], device=model.device)
    logits = model(input_ids=ids).logits[0, -len(answer) :].float()
    logprobs, tokens = logits.log_softmax(dim=-1).topk(min(n_best, logits.shape[-1]), dim=-1)
    return [
        list(zip(row_ids, row_logprobs, strict=True))
        for row_ids, row_logprobs in zip(tokens.tolist(), logprobs.tolist(), strict=True)
    ]
