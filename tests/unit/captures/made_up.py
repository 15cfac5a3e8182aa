"""Captures made up with NumPy: plausible enough to draw, small enough to check by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from overnight.captures.lines import CaptureLine

SUBLAYERS = ("residual_in", "residual_mid", "residual_out")


def line(prompt_id: str, tokens: list[str], n_prompt: int, **changes: Any) -> dict[str, Any]:
    """Return a line of captures.jsonl."""
    return {
        "prompt_id": prompt_id,
        "group": "uncertainty",
        "prompt": "".join(tokens[:n_prompt]),
        "reply": "".join(tokens[n_prompt:]),
        "digest": "d" * 64,
        "path": f"captures/{prompt_id}.safetensors",
        "n_prompt": n_prompt,
        "n_tokens": len(tokens),
        "pieces": [{"text": token} for token in tokens],
        "finish_reason": "stop",
    } | changes


def write_sequence(
    path: Path,
    *,
    n_prompt: int,
    projections: np.ndarray,
    points: list[str],
    traits: list[str],
    more: dict[str, np.ndarray] | None = None,
    **metadata: str,
) -> None:
    """Write the file of a sequence."""
    n_tokens = projections.shape[0]
    tensors = {
        "token_ids": np.arange(100, 100 + n_tokens, dtype=np.int64),
        "projections": projections.astype(np.float32),
        "norms": np.ones(projections.shape[:2], np.float32),
    } | (more or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "schema_version": "1",
        "n_prompt": str(n_prompt),
        "points": json.dumps(points),
        "traits": json.dumps(traits),
        "pooled_points": "[]",
        "raw_dtype": "bfloat16",
    } | metadata
    save_file(tensors, path, metadata=header)


def small(run: Path, **changes: Any) -> CaptureLine:
    """Write a sequence of four tokens, two of them of the prompt, at two points onto two traits."""
    projections = np.arange(16, dtype=np.float32).reshape(4, 2, 2)
    write_sequence(
        run / "captures/p1.safetensors",
        **{
            "n_prompt": 2,
            "projections": projections,
            "points": ["0.residual_in", "11.residual_out"],
            "traits": ["doubt", "warmth"],
            "more": {"z": projections / 4},
        }
        | changes,
    )
    return CaptureLine.model_validate(line("p1", ["Is", " it?", " Per", "haps"], 2))
