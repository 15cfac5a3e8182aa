"""Copies of a GGUF file that differ in one thing."""

from pathlib import Path
from typing import Any

import gguf


def copy_gguf(source: Path, target: Path, *, is_widened: bool = False, **changed: Any) -> Path:
    """Write a GGUF file again.

    Args:
        source: to be copied.
        target: to be written.
        is_widened: with its weights in 32 bits, which loses nothing.
        changed: keys of its header (``_`` for ``.``) that get another value.
    """
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, arch=reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = field.types[0]
            inner = field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None
            value = changed.pop(name.replace(".", "_"), field.contents())
            writer.add_key_value(name, value, kind, sub_type=inner)
    assert not changed, f"{source} has no {list(changed)}"
    for tensor in reader.tensors:
        if is_widened:
            writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type))
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
