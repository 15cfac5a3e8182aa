"""What the memory of a model is computed from: sizes that stand in the header of its files."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from overnight.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """One tensor as it lies in the file."""

    name: str
    n_elements: int
    n_bytes: int
    n_rows: int  # of a matrix, the outputs; 1 for a vector
    stored_as: str  # Q4_K, F16, BF16, ...

    @property
    def is_matrix(self) -> bool:
        """True for weights that are multiplied by, false for norms, biases and rotary tables."""
        return self.n_rows > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """What one layer keeps of every token: a key and a value for each of its key-value heads."""

    kv_heads: int
    k_dim: int  # of one head
    v_dim: int  # of one head; may differ from k_dim
    is_sliding: bool = False  # sees the last ``sliding_window`` tokens only

    @property
    def elements_per_token(self) -> int:
        """Numbers kept of one token."""
        return self.kv_heads * (self.k_dim + self.v_dim)


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Sizes of a model, read off the header of its files; no tensor is read."""

    path: Path
    file_format: str  # gguf or safetensors
    architecture: str
    tensors: tuple[TensorFacts, ...]
    layers: tuple[LayerFacts, ...]
    heads: int  # query heads, the most of any layer
    hidden_size: int
    ffn_size: int  # wide part of the feed-forward block for one token; over the experts that a token uses
    vocab_size: int
    n_merges: int = 0  # of the tokenizer, where the file has it
    trained_context: int | None
    sliding_window: int | None
    unknown_because: str | None = None
    """Why the memory beside the weights cannot be computed: an architecture whose state is not keys and values."""
    notes: tuple[str, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def n_parameters(self) -> int:
        """Elements of all tensors."""
        return sum(tensor.n_elements for tensor in self.tensors)

    @cached_property
    def layer_bytes(self) -> tuple[int, ...]:
        """Bytes of the tensors of each layer, in order."""
        found = [0] * len(self.layers)
        for tensor in self.tensors:
            layer = layer_of(tensor.name)
            if layer is not None and layer < len(found):
                found[layer] += tensor.n_bytes
        return tuple(found)

    @property
    def other_bytes(self) -> int:
        """Bytes of the tensors that belong to no layer: embedding, output, last norm."""
        return self.weight_bytes - sum(self.layer_bytes)

    @property
    def embedding_bytes(self) -> int:
        """Bytes of the input embedding; the output shares it where it has no tensor of its own."""
        return sum(tensor.n_bytes for tensor in self.tensors if is_embedding(tensor.name))

    @property
    def output_bytes(self) -> int:
        """Bytes of the output matrix; 0 where it is the input embedding."""
        return sum(tensor.n_bytes for tensor in self.tensors if is_output(tensor.name))


def read_facts(path: Path) -> ModelFacts:
    """Return the sizes of a model from the header of its GGUF file, or of the safetensors in its folder.

    Raises:
        UsageError: there is nothing there, or it is neither.
    """
    from overnight.memory.gguf_facts import read_gguf_facts  # noqa: PLC0415 - each knows its format only
    from overnight.memory.hf_facts import read_hf_facts  # noqa: PLC0415

    if path.is_dir():
        return read_hf_facts(path)
    if not path.exists():
        raise UsageError(f"{path}: no such file; give a GGUF file or a folder with config.json")
    return read_gguf_facts(path)


def layer_of(name: str) -> int | None:
    """Return the number of the layer that a tensor belongs to, by the two ways of naming; None for none."""
    parts = name.split(".")
    for before, number in pairwise(parts):
        if before in {"blk", "layers", "h", "blocks"} and number.isdecimal():
            return int(number)
    return None


def is_embedding(name: str) -> bool:
    """True for the table that turns a token into a vector."""
    return name == "token_embd.weight" or name.endswith(
        ("embed_tokens.weight", "wte.weight", "embed_in.weight")
    )


def is_output(name: str) -> bool:
    """True for the matrix that turns a vector into logits."""
    return name == "output.weight" or name.endswith(("lm_head.weight", "embed_out.weight"))
