"""Weights that llama.cpp holds twice on a processor: mapped from their file, and in the order that its kernels want.

Which ones follows from ``ggml_repack_get_optimal_repack_type`` (ggml/src/ggml-cpu/repack.cpp): matrices that are
multiplied by, of some types, with a whole number of groups of rows. The pages of the file stay mapped beside the copy.
"""

import platform

from overnight.memory.facts import ModelFacts, TensorFacts, is_embedding, is_output, layer_of

_GROUP = 8  # rows that are interleaved
_TYPES_OF_MACHINES = {
    "x86_64": ("Q4_0", "Q4_K", "IQ4_NL", "MXFP4"),  # with AVX2, as wheels are built
}
_SAME_MACHINES = {"amd64": "x86_64"}


def repacked_types(machine: str | None = None) -> tuple[str, ...]:
    """Return the types of weights that are repacked; none for processors whose builds are not known (Arm).

    Args:
        machine: as `platform.machine` names it; None for this one.
    """
    name = (machine or platform.machine()).lower()
    return _TYPES_OF_MACHINES.get(_SAME_MACHINES.get(name, name), ())


def repacked_bytes(facts: ModelFacts, types: tuple[str, ...], *, n_layers: int, has_output: bool) -> int:
    """Return the bytes of the copies.

    Args:
        facts: of the model.
        types: that are repacked.
        n_layers: on the host, the first ones.
        has_output: the output is on the host; where the embedding is also the output, it is copied for that.
    """
    output = is_output if facts.output_bytes else is_embedding

    def is_copied(tensor: TensorFacts) -> bool:
        if tensor.stored_as not in types or not tensor.is_matrix or tensor.n_rows % _GROUP:
            return False
        layer = layer_of(tensor.name)
        return has_output and output(tensor.name) if layer is None else layer < n_layers

    return sum(tensor.n_bytes for tensor in facts.tensors if is_copied(tensor))
