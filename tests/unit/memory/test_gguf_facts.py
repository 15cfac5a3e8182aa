from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGUFReader

from overnight.errors import UsageError
from overnight.memory.facts import read_facts
from overnight.memory.gguf_header import Counted, read_header


def test_sizes_are_those_that_the_official_reader_finds(write_gguf: Callable[..., Path]) -> None:
    # Our own reader exists only because this one takes seconds for a vocabulary.
    path = write_gguf()
    reader = GGUFReader(path)
    official = {tensor.name: (int(tensor.n_elements), int(tensor.n_bytes)) for tensor in reader.tensors}
    facts = read_facts(path)
    assert {t.name: (t.n_elements, t.n_bytes) for t in facts.tensors} == official
    assert facts.weight_bytes == sum(n_bytes for _, n_bytes in official.values())
    header = read_header(path)
    for name, field in reader.fields.items():
        if name.startswith("GGUF."):
            continue
        found = header.metadata[name]
        value = field.contents()
        assert found == (Counted(len(value)) if isinstance(found, Counted) else value)


def test_a_layer_keeps_its_key_value_heads_and_not_its_query_heads(write_gguf: Callable[..., Path]) -> None:
    # Grouped-query attention is why a cache is a fraction of what the number of heads suggests.
    facts = read_facts(write_gguf())
    assert [(layer.kv_heads, layer.k_dim, layer.v_dim) for layer in facts.layers] == [(2, 16, 16)] * 2
    assert (facts.heads, facts.hidden_size, facts.ffn_size, facts.vocab_size) == (4, 64, 160, 5000)
    assert facts.trained_context == 2048


def test_bytes_of_layers_and_of_the_rest_add_up_to_the_weights(write_gguf: Callable[..., Path]) -> None:
    facts = read_facts(write_gguf())
    assert facts.layer_bytes == (64 * 4 + 160 * 64 * 2,) * 2
    assert facts.embedding_bytes == facts.other_bytes == 5000 * 64 * 2
    assert facts.output_bytes == 0  # the embedding is used again


def test_key_value_heads_may_differ_from_layer_to_layer(write_gguf: Callable[..., Path]) -> None:
    facts = read_facts(write_gguf(n_layers=3, kv_heads=[1, 4, 0]))
    assert [layer.kv_heads for layer in facts.layers] == [1, 4, 0]


def test_key_and_value_dimensions_are_taken_from_the_header_where_it_has_them(
    write_gguf: Callable[..., Path],
) -> None:
    def more(writer) -> None:
        writer.add_key_length(48)
        writer.add_value_length(32)

    facts = read_facts(write_gguf(more=more))
    assert {(layer.k_dim, layer.v_dim) for layer in facts.layers} == {(48, 32)}


def test_five_of_six_layers_of_gemma_3_slide(write_gguf: Callable[..., Path]) -> None:
    # Gemma 3 technical report, section 2: five local layers for each global one, the first is local.
    facts = read_facts(
        write_gguf(architecture="gemma3", n_layers=12, more=lambda writer: writer.add_sliding_window(1024))
    )
    assert [n for n, layer in enumerate(facts.layers) if not layer.is_sliding] == [5, 11]
    assert facts.sliding_window == 1024


def test_the_pattern_of_the_file_wins(write_gguf: Callable[..., Path]) -> None:
    def more(writer) -> None:
        writer.add_sliding_window(512)
        writer.add_array("gemma3.attention.sliding_window_pattern", [False, True])

    facts = read_facts(write_gguf(architecture="gemma3", more=more))
    assert [layer.is_sliding for layer in facts.layers] == [False, True]


def test_a_window_of_an_unknown_architecture_is_not_counted_on(write_gguf: Callable[..., Path]) -> None:
    # Too much is a step down too many; too little is a night lost.
    facts = read_facts(write_gguf(architecture="novel", more=lambda writer: writer.add_sliding_window(512)))
    assert not any(layer.is_sliding for layer in facts.layers)
    assert "which layers slide is not known" in facts.notes[0]


@pytest.mark.parametrize(
    ("architecture", "more", "why"),
    [
        ("deepseek2", lambda w: w.add_kv_lora_rank(512), "multi-head latent attention"),
        ("jamba", lambda w: w.add_ssm_state_size(16), "state-space state"),
        ("rwkv7", lambda w: w.add_wkv_head_size(64), "recurrent state"),
    ],
)
def test_a_state_that_is_not_keys_and_values_is_said_to_be_unknown(
    architecture: str, more, why: str, write_gguf: Callable[..., Path]
) -> None:
    facts = read_facts(write_gguf(architecture=architecture, more=more))
    assert why in str(facts.unknown_because)
    assert facts.layers == ()
    assert facts.weight_bytes > 0


def test_a_file_that_ends_within_its_header_is_refused_in_one_line(
    write_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    # Whatever a broken download leaves, it is never a traceback.
    whole = write_gguf(vocabulary=20).read_bytes()
    short = tmp_path / "short.gguf"
    for length in range(4, 900, 7):
        short.write_bytes(whole[:length])
        with pytest.raises(UsageError, match=r"short\.gguf: ends or is damaged within its header"):
            read_facts(short)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("nothing of a model")
    with pytest.raises(UsageError, match="wanted a GGUF file"):
        read_facts(path)


def test_all_parts_of_a_split_model_are_counted(write_gguf: Callable[..., Path]) -> None:
    first = write_gguf("m-00001-of-00002.gguf")
    with pytest.raises(UsageError, match=r"m-00002-of-00002\.gguf is missing"):
        read_facts(first)
    one = read_facts(write_gguf()).weight_bytes
    second = write_gguf("m-00002-of-00002.gguf")
    assert read_facts(second).weight_bytes == read_facts(first).weight_bytes == 2 * one
