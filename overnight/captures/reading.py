"""Reading the file of a sequence, and refusing one that is damaged or of another making."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from overnight.captures.lines import CaptureLine, read_lines
from overnight.captures.prompt import CapturedPrompt
from overnight.captures.tensor_file import TensorFile, open_tensors
from overnight.errors import StoreError

SCHEMA_VERSION: Final = "1"
SUMMARIES: Final = ("entropy", "first_token", "prompt", "previous_token")
AGAIN: Final = "take it away and go on with the run (`overnight resume`): the prompt is captured again"
_POINT: Final = re.compile(r"(0|[1-9][0-9]*)\.[a-z_]+")
_RAW: Final = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_LISTS: Final = ("points", "traits", "pooled_points")


def read_captures(run: Path, lines_path: Path) -> Iterator[CapturedPrompt]:
    """Yield the captured prompts of a trial, one at a time; those that failed are passed over.

    Args:
        run: the folder of the run.
        lines_path: ``captures.jsonl`` of the trial.

    Raises:
        StoreError: a file is missing, damaged or of another making.
    """
    for line in read_lines(lines_path):
        if line.path is not None:
            yield read_prompt(run, line)


def read_prompt(run: Path, line: CaptureLine) -> CapturedPrompt:
    """Return a captured prompt, its file checked against its schema and its line.

    Raises:
        StoreError: the file is missing, damaged, of another making, or of another sequence.
        ValueError: the prompt failed, so that there is no file.
    """
    if line.path is None or line.n_prompt is None:
        raise ValueError(f"prompt {line.prompt_id!r} has no file: {line.error}")
    file = open_sequence(run / line.path)
    n_tokens = file.tensors["token_ids"].shape[0]
    if (n_tokens, file.metadata["n_prompt"]) != (line.n_tokens, str(line.n_prompt)):
        raise StoreError(
            f"{file.path}: {n_tokens} tokens, {file.metadata['n_prompt']} of them of the prompt; captures.jsonl has "
            f"{line.n_tokens} and {line.n_prompt} for {line.prompt_id!r}; {AGAIN}"
        )
    points, traits, pooled_points = (tuple(json.loads(file.metadata.get(name, "[]"))) for name in _LISTS)
    has = file.tensors.keys()
    empty = np.empty((n_tokens, len(points), len(traits)), np.float32)
    prompt = CapturedPrompt(
        prompt_id=line.prompt_id,
        group=line.group,
        prompt=line.prompt,
        reply=line.reply or "",
        finish_reason=line.finish_reason,
        n_prompt=line.n_prompt,
        token_ids=file.read("token_ids"),
        tokens=line.tokens,
        points=points,
        traits=traits,
        projections=file.read("projections") if "projections" in has else empty,
        z=file.read("z") if "z" in has else None,
        norms=file.read("norms") if "norms" in has else np.empty((n_tokens, len(points)), np.float32),
        pooled_points=pooled_points,
        pooled=file.read("pooled") if "pooled" in has else None,
        attention_summary=file.read("attention_summary") if "attention_summary" in has else None,
        file=file,
    )
    _check_values(prompt)
    return prompt


def open_sequence(path: Path) -> TensorFile:
    """Return the file of a sequence, with the names, types and shapes of its tensors checked; none is read.

    Raises:
        StoreError: the file is missing, cut or of another making.
    """
    try:
        file = open_tensors(path)
    except StoreError as error:
        raise StoreError(f"{error}; {AGAIN}") from None
    _check_header(file)
    ids = file.tensors["token_ids"]
    n_tokens = ids.shape[0] if len(ids.shape) == 1 else 0
    if ids.dtype != "I64" or n_tokens == 0 or not 0 <= int(file.metadata["n_prompt"]) <= n_tokens:
        raise _foreign(
            file,
            f"token_ids {ids.dtype} {list(ids.shape)}, n_prompt {file.metadata['n_prompt']}",
            "I64 [T], T > 0",
        )
    wanted = _wanted_shapes(file, n_tokens)
    for name, facts in sorted(file.tensors.items()):
        dtype, shape = wanted.get(name) or _wanted_large(file, name, n_tokens)
        fits = len(shape) == len(facts.shape) and all(
            size in (None, found) for size, found in zip(shape, facts.shape, strict=True)
        )
        if facts.dtype != dtype or not fits:
            sizes = ", ".join("any" if size is None else str(size) for size in shape)
            raise _foreign(file, f"tensor {name} {facts.dtype} {list(facts.shape)}", f"{dtype} [{sizes}]")
    return file


def check_large(file: TensorFile) -> None:
    """Read the large tensors of a file one after another, and refuse what cannot be a state or a weight.

    Raises:
        StoreError: a stored state is not finite, or a weight of attention is outside [0, 1].
    """
    for name in file.tensors:
        if name.startswith(("raw.", "internals.")) and not np.isfinite(file.read(name)).all():
            raise StoreError(
                f"{file.path}: tensor {name} has values that are not finite, wanted states; where they are too large "
                "for float16 capture them in bfloat16, else take the file away and go on with the run"
            )
        if name.startswith("attention."):
            weights = file.read(name)
            if not (np.isfinite(weights).all() and (weights >= 0).all() and (weights <= 1).all()):
                raise _foreign(file, f"tensor {name} with values outside [0, 1]", "weights of attention")


Shape = tuple[int | None, ...]


def _check_header(file: TensorFile) -> None:
    version = file.metadata.get("schema_version")
    if version != SCHEMA_VERSION:
        raise _foreign(file, f"schema_version {version!r}", f"{SCHEMA_VERSION!r}")
    if not file.metadata.get("n_prompt", "").isdecimal():
        raise _foreign(file, f"n_prompt {file.metadata.get('n_prompt')!r}", "a number of tokens")
    for name in _LISTS:
        text = file.metadata.get(name, "[]")
        try:
            values = json.loads(text)
        except json.JSONDecodeError:
            values = None
        is_good = isinstance(values, list) and all(isinstance(value, str) and value for value in values)
        if is_good and name != "traits":
            is_good = all(_POINT.fullmatch(value) for value in values)
        if not is_good or len(set(values)) < len(values):
            raise _foreign(file, f"{name} {text[:200]!r}", "a list of different names in JSON")
    absent = [name for name in _required(file) if name not in file.tensors]
    if absent:
        raise _foreign(file, f"no tensor {absent[0]}", "one")


def _required(file: TensorFile) -> list[str]:
    names = ["token_ids"]
    if json.loads(file.metadata.get("points", "[]")):
        names += ["projections", "norms"]
    if json.loads(file.metadata.get("pooled_points", "[]")):
        names.append("pooled")
    return names


def _wanted_shapes(file: TensorFile, n_tokens: int) -> dict[str, tuple[str, Shape]]:
    n_points, n_traits, n_pooled = (len(json.loads(file.metadata.get(name, "[]"))) for name in _LISTS)
    return {
        "token_ids": ("I64", (n_tokens,)),
        "projections": ("F32", (n_tokens, n_points, n_traits)),
        "z": ("F32", (n_tokens, n_points, n_traits)),
        "norms": ("F32", (n_tokens, n_points)),
        "pooled": ("F32", (n_pooled, None)),
        "attention_summary": ("F32", (None, n_tokens, len(SUMMARIES))),
    }


def _wanted_large(file: TensorFile, name: str, n_tokens: int) -> tuple[str, Shape]:
    kind, _, rest = name.partition(".")
    if kind in ("raw", "internals") and _POINT.fullmatch(rest):
        stored = file.metadata.get("raw_dtype", "")
        if stored not in _RAW:
            raise _foreign(file, f"raw_dtype {stored!r}", f"one of {', '.join(_RAW)}")
        found = file.tensors[name].dtype
        return found if kind == "internals" and found in _RAW.values() else _RAW[stored], (n_tokens, None)
    if kind == "attention" and rest.isdecimal():
        return "F16", (None, n_tokens, n_tokens)
    raise _foreign(file, f"tensor {name[:100]!r}", "only those of a capture")


def _check_values(prompt: CapturedPrompt) -> None:
    """Refuse infinities, and norms and token ids below 0; NaN says that a value is undefined."""
    floats: dict[str, NDArray[Any] | None] = {
        "projections": prompt.projections,
        "z": prompt.z,
        "norms": prompt.norms,
        "pooled": prompt.pooled,
        "attention_summary": prompt.attention_summary,
    }
    for name, values in floats.items():
        if values is not None and np.isinf(values).any():
            raise _foreign(
                prompt.file, f"tensor {name} with an infinite value", "numbers, and NaN where undefined"
            )
    if (prompt.norms < 0).any() or (prompt.token_ids < 0).any():
        raise _foreign(prompt.file, "a norm or a token id below 0", "none")


def _foreign(file: TensorFile, found: str, wanted: str) -> StoreError:
    return StoreError(f"{file.path}: {found}, wanted {wanted}; {AGAIN}")
