"""Copies of a GGUF file that differ in one thing."""

import struct
from pathlib import Path

import gguf

_ROPE_BASE = b"llama.rope.freq_base" + struct.pack("<I", gguf.GGUFValueType.FLOAT32)


def copy_widened(source: Path, target: Path) -> Path:
    """Write a GGUF file again with its weights in 32 bits, which loses nothing."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, arch=reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = field.types[0]
            inner = field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kind, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def copy_with_rope_base(source: Path, target: Path, base: float) -> Path:
    """Write a GGUF file again with another base of its rotary embedding."""
    content = bytearray(source.read_bytes())
    place = content.index(_ROPE_BASE) + len(_ROPE_BASE)
    content[place : place + 4] = struct.pack("<f", base)
    target.write_bytes(content)
    return target
