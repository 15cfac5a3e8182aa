"""Folders of text-pair models for tests, without weights that could be loaded."""

import json
from pathlib import Path
from typing import Any

POOLING = {"word_embedding_dimension": 8, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def write_model(folder: Path, config: dict[str, Any] | None = None) -> Path:
    """Write what makes a folder a model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"} | (config or {})))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def write_embedding(
    folder: Path,
    *,
    config: dict[str, Any] | None = None,
    modules: Any = MODULES,
    pooling: Any = POOLING,
    texts: dict[str, Any] | None = None,
) -> Path:
    """Write what makes a folder a model of sentence-transformers."""
    write_model(folder, config)
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if texts is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps(texts))
    return folder
