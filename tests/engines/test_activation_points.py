"""What is told of a point, of eight families of decoders with random weights, against plain transformers.

1e-4 of the largest number, in float32: sums of some 50 products in another order, through three blocks.
"""

import pytest

torch = pytest.importorskip("torch")

import transformers  # noqa: E402

from overnight.activations.architecture import Architecture  # noqa: E402
from overnight.activations.passing import Pass, attention_by  # noqa: E402
from overnight.activations.points import Component, Point  # noqa: E402
from overnight.activations.recording import recording  # noqa: E402
from overnight.errors import UsageError  # noqa: E402
from tests.engines.plain_decoders import (  # noqa: E402
    FAMILIES,
    N_LAYERS,
    block_states,
    hidden_states,
)

# Longer than the sliding windows of five tokens, and of different lengths.
SEQUENCES = [[5, 9, 12, 3, 33, 60, 17, 21, 8, 40, 2], [7, 7, 50], [1], [11, 62, 30, 4, 25, 19, 44]]
RESIDUALS = [
    Point(layer, component)
    for layer in range(N_LAYERS)
    for component in (Component.RESIDUAL_IN, Component.RESIDUAL_OUT)
]
families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them wait for each other on a busy machine
    yield
    torch.set_num_threads(before)


def told(model, points, sequences, architecture=None):
    """Return of each sequence the states of each point, padding left out."""
    architecture = architecture or Architecture(model)
    kept = {}
    last = architecture.blocks[max(point.layer for point in points)].module
    with recording(architecture, points, lambda point, states: kept.update({point: states.clone()})):
        Pass(model)(sequences, until=last)
    return [
        {point: states[row, : len(ids)] for point, states in kept.items()}
        for row, ids in enumerate(sequences)
    ]


def all_points(architecture):
    return [
        Point(layer, component)
        for layer, block in enumerate(architecture.blocks)
        for component in block.components
    ]


def assert_close(found, expected) -> None:
    largest = max(1.0, float(expected.abs().max()))
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-4 * largest


@families
def test_blocks_are_counted_as_transformers_counts_its_hidden_states(family) -> None:
    # One convention: what leaves block l is hidden_states[l + 1], the last before the final norm, and what enters
    # block l + 1 is what leaves block l.
    model = family.model()
    for ids, found in zip(SEQUENCES, told(model, RESIDUALS, SEQUENCES), strict=True):
        expected = hidden_states(family, model, ids)
        for layer in range(N_LAYERS):
            assert_close(found[Point(layer, Component.RESIDUAL_IN)], expected[layer])
            assert_close(found[Point(layer, Component.RESIDUAL_OUT)], expected[layer + 1])
            if layer:
                entered = found[Point(layer, Component.RESIDUAL_IN)]
                assert entered.equal(found[Point(layer - 1, Component.RESIDUAL_OUT)])


@families
def test_the_residual_stream_is_the_sum_of_what_attention_and_the_mlp_add(family) -> None:
    model = family.model()
    points = [
        Point(layer, component)
        for layer in range(N_LAYERS)
        for component in (
            Component.RESIDUAL_IN,
            Component.ATTN_CONTRIBUTION,
            Component.RESIDUAL_MID,
            Component.MLP_CONTRIBUTION,
            Component.RESIDUAL_OUT,
        )
    ]
    for found in told(model, points, SEQUENCES):
        for layer in range(N_LAYERS):
            enters, attention, middle, mlp, leaves = (
                found[point] for point in points if point.layer == layer
            )
            assert_close(middle - enters, attention)
            assert_close(leaves - middle, mlp)
            assert attention.abs().max() > 0.1  # so that the sums say something
            assert mlp.abs().max() > 0.1


@families
def test_everything_inside_a_block_is_what_its_weights_make_of_it(family) -> None:
    model = family.model(attention="eager")
    architecture = Architecture(model)
    points = all_points(architecture)
    for ids, found in zip(SEQUENCES, told(model, points, SEQUENCES, architecture), strict=True):
        for layer in range(N_LAYERS):
            expected = block_states(family, model, ids, layer)
            # The reference is one: it comes to what transformers says leaves the block.
            assert_close(expected["residual_out"], hidden_states(family, model, ids)[layer + 1])
            assert set(expected) == {point.component.value for point in points if point.layer == layer}
            for name, state in expected.items():
                assert_close(found[Point(layer, Component(name))], state)


@families
def test_a_sequence_in_a_batch_has_the_states_that_it_has_alone(family) -> None:
    model = family.model()
    architecture = Architecture(model)
    points = all_points(architecture)
    together = told(model, points, SEQUENCES, architecture)
    for ids, found in zip(SEQUENCES, together, strict=True):
        (alone,) = told(model, points, [ids], architecture)
        for point in points:
            assert_close(found[point], alone[point])


@families
def test_a_pass_that_ends_early_says_the_same_and_computes_nothing_more(family) -> None:
    model = family.model()
    architecture = Architecture(model)
    points = [point for point in all_points(architecture) if point.layer <= 1]
    whole = told(model, [*points, Point(2, Component.RESIDUAL_OUT)], SEQUENCES, architecture)
    computed = []
    hooks = [
        block.module.register_forward_hook(lambda *_, layer=layer: computed.append(layer))
        for layer, block in enumerate(architecture.blocks)
    ]
    hooks.append(model.lm_head.register_forward_hook(lambda *_: computed.append("logits")))
    early = told(model, points, SEQUENCES, architecture)
    for hook in hooks:
        hook.remove()
    assert computed == [0, 1]
    for found, expected in zip(early, whole, strict=True):
        assert all(found[point].equal(expected[point]) for point in points)


@families
def test_a_point_that_is_not_there_is_named_with_what_there_is(family) -> None:
    architecture = Architecture(family.model())
    assert architecture.width(Point(2, Component.GATED)) == architecture.width(Point(2, Component.UP))
    if not family.has_gate:
        with pytest.raises(UsageError, match=r"point 1.gate: \w+ has no gate .* it has residual_in, q, k"):
            architecture.width(Point(1, Component.GATE))
    with pytest.raises(UsageError, match=r"has 3 blocks, and the last one is 2"):
        architecture.width(Point(3, Component.RESIDUAL_IN))


def test_a_group_of_queries_shares_its_keys() -> None:
    # Two heads of keys and values for four of queries, of 16 numbers each in Gemma, which are not 32 / 4.
    widths = {
        name: [
            Architecture(FAMILIES[name].model()).width(Point(0, part)) for part in (Component.Q, Component.K)
        ]
        for name in ("llama", "gemma2", "phi3", "gpt2")
    }
    assert widths == {"llama": [32, 16], "gemma2": [64, 32], "phi3": [32, 16], "gpt2": [32, 32]}


def test_no_hook_stays_behind_and_attention_is_what_it_was_whatever_happens() -> None:
    model = FAMILIES["llama"].model()
    before = model.config._attn_implementation
    architecture = Architecture(model)

    def fail(point, states):
        raise MemoryError

    with (
        pytest.raises(MemoryError),
        attention_by(model, "eager"),
        recording(architecture, all_points(architecture), fail),
    ):
        Pass(model)(SEQUENCES, until=architecture.blocks[-1].module)
    hooks = [
        hook
        for module in model.modules()
        for kind in (module._forward_hooks, module._forward_pre_hooks)
        for hook in kind.values()
        if "overnight" in getattr(hook, "__module__", "")
    ]
    assert hooks == []
    assert model.config._attn_implementation == before != "eager"


_SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_FULL = _SMALL | {"intermediate_size": 48, "num_key_value_heads": 2, "pad_token_id": 0}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("GraniteConfig", _FULL | {"residual_multiplier": 0.3}),  # what is added is scaled
        ("Olmo2Config", _FULL),  # norms after attention and the MLP, and none before
        ("Glm4Config", _FULL | {"head_dim": 8}),  # norms before and after, by other names than Gemma's
        ("CohereConfig", _FULL),  # attention and MLP side by side
        ("GPTNeoXConfig", _SMALL | {"intermediate_size": 48}),  # the same
        ("FalconConfig", _SMALL),  # the same, and the MLP's output is added to where it lies
        ("MixtralConfig", _FULL | {"num_local_experts": 4}),  # experts
    ],
)
def test_blocks_of_other_kinds_add_up_too(name: str, fields: dict) -> None:
    torch.manual_seed(2)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**fields)).eval()
    for weights in model.parameters():
        weights.data += torch.randn_like(weights) * 0.1
    parts = (Component.RESIDUAL_MID, Component.MLP_CONTRIBUTION, Component.RESIDUAL_OUT)
    points = [Point(0, component) for component in parts]
    for ids, found in zip(SEQUENCES, told(model, points, SEQUENCES), strict=True):
        middle, mlp, leaves = (found[point] for point in points)
        assert_close(leaves - middle, mlp)
        with torch.inference_mode():
            assert_close(leaves, model(torch.tensor([ids]), output_hidden_states=True).hidden_states[1][0])


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        # Its attention and MLP give what they read as well: to call that a contribution would count it twice.
        ("BloomConfig", {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
        # There is no module around its MLP, which lays all tokens one behind the other.
        ("OPTConfig", _SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    ],
)
def test_a_block_whose_parts_do_not_add_up_has_no_contributions(name: str, fields: dict) -> None:
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**fields)).eval()
    architecture = Architecture(model)
    assert architecture.width(Point(1, Component.RESIDUAL_OUT)) == 32
    for component in (Component.RESIDUAL_MID, Component.ATTN_CONTRIBUTION, Component.MLP_CONTRIBUTION):
        with pytest.raises(UsageError, match=f"has no {component}"):
            architecture.width(Point(1, component))
