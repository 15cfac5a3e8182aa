"""``projections.parquet``: a row a token, point and trait, written prompt by prompt."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from overnight.captures.prompt import CapturedPrompt, layer_and_sublayer
from overnight.captures.reading import SCHEMA_VERSION
from overnight.store.files import atomic_bytes

PARTS: Final = ("prompt", "reply")
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema(
    [
        ("prompt_id", _TEXT),
        ("part", _TEXT),
        ("position_of_state", pa.int32()),
        ("token_id", pa.int64()),
        ("token", _TEXT),
        ("token_predicted_id", pa.int64()),
        ("token_predicted", _TEXT),
        ("layer", pa.int32()),
        ("sublayer", _TEXT),
        ("trait", _TEXT),
        ("projection", pa.float32()),
        ("z", pa.float32()),
        ("norm", pa.float32()),
    ],
    metadata={"schema_version": SCHEMA_VERSION},
)
_ROWS_AT_ONCE: Final = 1 << 18  # of a long prompt; the memory that writing takes does not grow beyond


def write_projections(path: Path, prompts: Iterable[CapturedPrompt]) -> int:
    """Write the table of a trial; it is there in full or not at all.

    The row of position t is the state after reading token t, 0-based over prompt and reply; the token it predicts is
    the one at t + 1, null at the last position. A projection, z or norm that is undefined is null.

    Args:
        path: ends in ``.parquet``, or in ``.csv`` for a table of texts.
        prompts: read one at a time; none is held longer than it takes to write it.

    Returns:
        How many rows there are.
    """
    n_rows = 0
    with atomic_bytes(path) as file:
        if path.suffix == ".csv":
            plain = pa.schema([pa.field(one.name, _plain(one.type)) for one in SCHEMA])
            with csv.CSVWriter(file, plain) as table:
                for prompt in prompts:
                    for rows in _batches(prompt):
                        table.write_table(pa.Table.from_batches([rows]).cast(plain))
                        n_rows += rows.num_rows
        else:
            with parquet.ParquetWriter(file, SCHEMA, compression="zstd") as table:
                for prompt in prompts:
                    for rows in _batches(prompt):
                        table.write_batch(rows, row_group_size=_ROWS_AT_ONCE)
                        n_rows += rows.num_rows
    return n_rows


def n_rows_of(prompt: CapturedPrompt) -> int:
    """Return how many rows a prompt has in the table."""
    return prompt.n_tokens * len(prompt.points) * len(prompt.traits)


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_dictionary(kind) else kind


def _batches(prompt: CapturedPrompt) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a prompt by token, point, trait; the last one runs fastest."""
    n_of_token = len(prompt.points) * len(prompt.traits)
    if n_of_token == 0:
        return
    step = max(1, _ROWS_AT_ONCE // n_of_token)
    for start in range(0, prompt.n_tokens, step):
        yield _rows(prompt, start, min(start + step, prompt.n_tokens))


def _rows(prompt: CapturedPrompt, start: int, stop: int) -> pa.RecordBatch:
    n_points, n_traits, n_tokens = len(prompt.points), len(prompt.traits), prompt.n_tokens
    position, point, trait = (
        axis.reshape(-1) for axis in np.indices((stop - start, n_points, n_traits), dtype=np.int32)
    )
    position = position + np.int32(start)
    parts = [layer_and_sublayer(label) for label in prompt.points]
    # The last state predicts a token that nobody drew.
    after, is_last = np.minimum(position + 1, n_tokens - 1), position + 1 == n_tokens
    z = np.full((stop - start, n_points, n_traits), np.nan, np.float32)
    columns: dict[str, pa.Array] = {
        "prompt_id": _texts(np.zeros_like(position), [prompt.prompt_id]),
        "part": _texts((position >= prompt.n_prompt).astype(np.int32), PARTS),
        "position_of_state": pa.array(position),
        "token_id": pa.array(prompt.token_ids[position]),
        "token": _texts(position - start, prompt.tokens[start:stop]),
        "token_predicted_id": pa.array(prompt.token_ids[after], mask=is_last),
        "token_predicted": _texts(after - start, prompt.tokens[start : stop + 1], is_last),
        "layer": pa.array(np.array([layer for layer, _ in parts], np.int32)[point]),
        "sublayer": _texts(point, [sublayer for _, sublayer in parts]),
        "trait": _texts(trait, prompt.traits),
        "projection": _floats(prompt.projections[start:stop]),
        "z": _floats(z if prompt.z is None else prompt.z[start:stop]),
        "norm": _floats(np.repeat(prompt.norms[start:stop, :, None], n_traits, axis=2)),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _texts(
    places: NDArray[np.int32], texts: Iterable[str], absent: NDArray[np.bool_] | None = None
) -> pa.DictionaryArray:
    """Return ``texts[place]`` for each place, every different text kept once."""
    listed = list(texts)
    known = {text: place for place, text in enumerate(dict.fromkeys(listed))}
    own = np.array([known[text] for text in listed], np.int32)
    return pa.DictionaryArray.from_arrays(
        pa.array(own[places], mask=absent), pa.array(list(known), pa.string())
    )


def _floats(values: NDArray[np.floating[Any]]) -> pa.Array:
    """Return a column in which what is undefined is null."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    return pa.array(flat, mask=np.isnan(flat))


def check_projections(path: Path) -> list[tuple[str, str]]:
    """Return what of a table's columns, types and values is not as it should be: what was found, what was wanted.

    The values are read a group of rows at a time.

    Raises:
        OSError: the file cannot be read.
        pyarrow.ArrowInvalid: it is cut, or not Parquet.
    """
    problems: list[tuple[str, str]] = []
    with parquet.ParquetFile(path) as file:
        found = file.schema_arrow
        if found.names != SCHEMA.names:
            return [(f"columns {', '.join(found.names)}"[:300], ", ".join(SCHEMA.names))]
        problems += [
            (f"column {one.name} is {one.type}", f"{SCHEMA.field(one.name).type}")
            for one in found
            if _plain(one.type) != _plain(SCHEMA.field(one.name).type)
        ]
        if problems:
            return problems
        version = (found.metadata or {}).get(b"schema_version", b"").decode("utf-8", "replace")
        if version != SCHEMA_VERSION:
            problems.append((f"schema_version {version!r}", repr(SCHEMA_VERSION)))
        for number in range(file.num_row_groups):
            rows = file.read_row_group(
                number, columns=["part", "position_of_state", "projection", "z", "norm"]
            )
            problems += _value_problems(rows, number)
    return problems


def _value_problems(rows: pa.Table, number: int) -> Iterator[tuple[str, str]]:
    where = f" in row group {number}"
    parts = set(rows["part"].unique().to_pylist())
    if not parts <= set(PARTS):
        yield f"part {sorted(map(str, parts - set(PARTS)))[0]!r}{where}", " or ".join(PARTS)
    for name in ("projection", "z", "norm"):
        values = rows[name].drop_null().to_numpy()
        if not np.isfinite(values).all():
            yield f"{name} with a value that is not finite{where}", "numbers, and nothing where undefined"
    if (rows["position_of_state"].drop_null().to_numpy() < 0).any():
        yield f"position_of_state below 0{where}", "0 and above"
