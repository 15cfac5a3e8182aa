"""Texts of vectors and vectors of texts, on small decoders with random weights."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from scipy.stats import chisquare  # noqa: E402

from overnight.engines.transformers.memory import is_out_of_memory  # noqa: E402
from overnight.errors import BadResponse, OutOfMemory, UsageError  # noqa: E402
from overnight.lens.drawing import Drawer  # noqa: E402
from overnight.lens.encoding import encode  # noqa: E402
from overnight.lens.fitting_rows import FittingRows  # noqa: E402
from overnight.lens.request import VerbaliseRequest  # noqa: E402
from overnight.lens.streams import DrawStream  # noqa: E402
from tests.engines.plain_decoders import FAMILIES, VOCABULARY, WIDTH  # noqa: E402
from tests.engines.plain_lens import SOFT_TOKENS, PlainLens, written  # noqa: E402

EOS = frozenset({2, 5, 9})  # some texts end, and some do not
N_VECTORS, N_DRAWS, MOST_TOKENS = 7, 5, 6
CPU = torch.device("cpu")
REQUEST = VerbaliseRequest(
    lens=Path("lens"),
    vectors=Path("vectors"),
    keys=tuple(f"key {number}" for number in range(N_VECTORS)),
    n_draws=N_DRAWS,
    temperature=1.0,
    top_p=1.0,
    top_k=0,
    max_new_tokens=MOST_TOKENS,
    seed=42,
    rows=64,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    return FAMILIES["llama"].model()


@pytest.fixture(scope="module")
def vectors():
    return torch.randn((N_VECTORS, WIDTH), generator=torch.Generator().manual_seed(8))


def _rows() -> FittingRows:
    return FittingRows("drawn", CPU, lambda: None)


def _draw(model, vectors, fitting=None, **changes):
    drawer = Drawer(model, EOS, written)
    return drawer.draw(PlainLens(model), vectors, replace(REQUEST, **changes), fitting or _rows())


def _ids(texts):
    return [[draw.token_ids for draw in of_vector] for of_vector in texts]


# gemma2 has layers that forget, for which no room is made.
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_texts_depend_neither_on_how_many_are_drawn_at_a_time_nor_on_the_chunk(family, vectors) -> None:
    model = FAMILIES[family].model()
    alone = _draw(model, vectors, rows=1)
    assert (
        len({len(ids) for of_vector in _ids(alone) for ids in of_vector}) > 1
    )  # rows leave at their own time
    for n_rows in (3, 64):
        assert _ids(_draw(model, vectors, rows=n_rows)) == _ids(alone)
    parts = [_draw(model, vectors[part], keys=REQUEST.keys[part]) for part in (slice(0, 3), slice(3, None))]
    assert _ids([*parts[0], *parts[1]]) == _ids(alone)


def test_a_draw_is_the_same_among_more_draws_and_in_shorter_texts(model, vectors) -> None:
    few = _ids(_draw(model, vectors))
    more = _ids(_draw(model, vectors, n_draws=N_DRAWS + 4))
    assert [of_vector[:N_DRAWS] for of_vector in more] == few
    shorter = _ids(_draw(model, vectors, max_new_tokens=2))
    assert shorter == [[ids[:2] for ids in of_vector] for of_vector in few]


def test_another_seed_or_key_has_other_texts_and_draws_of_a_vector_differ(model, vectors) -> None:
    first = _ids(_draw(model, vectors))
    assert all(len(set(of_vector)) > 1 for of_vector in first)
    assert _ids(_draw(model, vectors, seed=43)) != first
    assert _ids(_draw(model, vectors, keys=tuple(f"other {n}" for n in range(N_VECTORS)))) != first


def test_the_random_numbers_of_a_draw_are_a_key_of_their_own() -> None:
    def numbers(*key, n=4):
        stream = DrawStream(*key, n_tokens=n)
        return [stream.next() for _ in range(n)]

    assert numbers(1, "a", 0) == numbers(1, "a", 0, n=9)[:4]
    others = {tuple(numbers(*key)) for key in ((1, "a", 0), (1, "a", 1), (1, "b", 0), (2, "a", 0))}
    assert len(others) == 4
    drawn = [number for draw in range(2000) for number in numbers(1, "a", draw, n=1)]
    # Uniform: a tenth of the numbers in each tenth, by the chi-squared test of Pearson.
    assert chisquare(np.histogram(drawn, bins=10, range=(0, 1))[0]).pvalue > 0.01


def test_first_tokens_are_drawn_by_the_softmax_at_their_temperature(model, vectors) -> None:
    n_draws, temperature = 4000, 1.5
    (texts,) = _draw(
        model,
        vectors[:1],
        keys=("a",),
        n_draws=n_draws,
        max_new_tokens=1,
        rows=n_draws,
        temperature=temperature,
    )
    with torch.inference_mode():
        logits = PlainLens(model).prefill(vectors[:1]).logits[0].double()
    first = [draw.token_ids[0] if draw.token_ids else None for draw in texts]
    expected = (logits / temperature).softmax(dim=-1).numpy() * n_draws
    observed = np.array([first.count(token) for token in range(VOCABULARY)], dtype=float)
    ends = sorted(EOS)
    assert sum(observed) + first.count(None) == n_draws
    observed[ends], expected_end = 0, expected[ends].sum()
    expected[ends] = 0
    is_common = expected >= 5  # where the approximation holds; the others are one class
    rare = expected[~is_common].sum() + expected_end
    seen = observed[~is_common].sum() + first.count(None)
    found = chisquare([*observed[is_common], seen], [*expected[is_common], rare])
    assert is_common.sum() > 20
    assert found.pvalue > 0.01


def test_log_probabilities_are_those_of_the_model_that_reads_the_text_before_any_sampling_setting(
    model, vectors
) -> None:
    lens = PlainLens(model)
    texts = _draw(model, vectors, temperature=1.7, top_p=0.9, top_k=30)
    for vector, of_vector in zip(vectors, texts, strict=True):
        for draw in of_vector:
            shortened = draw.token_ids
            with torch.inference_mode():
                soft = lens.soft_tokens(vector[None])
                read = torch.cat(
                    [soft, model.get_input_embeddings()(torch.tensor([shortened], dtype=torch.long))], 1
                )
                logprobs = model(inputs_embeds=read).logits[0, SOFT_TOKENS - 1 :].log_softmax(-1)
            of_tokens = sum(float(logprobs[place, token]) for place, token in enumerate(shortened))
            if draw.finish_reason == "length":
                assert draw.logprob == pytest.approx(of_tokens, abs=1e-4)
                assert draw.n_tokens == len(shortened) == MOST_TOKENS
            else:
                ends = [of_tokens + float(logprobs[-1, token]) for token in EOS]
                assert min(abs(draw.logprob - each) for each in ends) < 1e-4
                assert draw.n_tokens == len(shortened) + 1
            assert draw.text == written(shortened)


def test_what_does_not_fit_is_halved_and_remembered_and_the_texts_are_the_same(model, vectors) -> None:
    expected = _ids(_draw(model, vectors))
    rows, seen = _rows(), []
    handle = model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(_count(kwargs)), with_kwargs=True
    )

    def refuse(_, args, kwargs):
        if _count(kwargs) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more")

    tight = model.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        assert _ids(_draw(model, vectors, rows)) == expected
        assert rows.halvings == 3  # 35 texts, 18, 9, 5
        assert rows.of(64) == 5
        seen.clear()
        assert _ids(_draw(model, vectors, rows)) == expected
        assert max(seen) == 5
        assert rows.halvings == 3
    finally:
        handle.remove()
        tight.remove()


def _count(kwargs) -> int:
    given = kwargs.get("input_ids")
    return len(kwargs["inputs_embeds"] if given is None else given)


def test_a_text_that_does_not_fit_alone_is_out_of_memory_and_another_error_is_what_it_is(
    model, vectors
) -> None:
    def refuse(*_):
        raise MemoryError

    handle = model.register_forward_pre_hook(refuse)
    with pytest.raises(OutOfMemory, match="a single text does not fit into memory while it is drawn"):
        _draw(model, vectors)
    handle.remove()

    def fail(*_):
        raise RuntimeError("shapes differ")

    handle = model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="shapes differ") as error:
        _draw(model, vectors)
    handle.remove()
    assert not is_out_of_memory(error.value)


def test_nothing_is_drawn_for_nobody(model, vectors) -> None:
    looks = iter([True] * 10)
    assert (
        Drawer(model, EOS, written).draw(
            PlainLens(model), vectors, REQUEST, _rows(), lambda: next(looks, False)
        )
        is None
    )


def test_texts_longer_than_the_model_can_write_are_refused(model, vectors) -> None:
    with pytest.raises(
        UsageError, match=r"a text of 62 tokens behind the 3 .* more than the 64 of the model"
    ):
        _draw(model, vectors, max_new_tokens=62)


def test_logits_that_are_no_numbers_are_a_bad_response(model, vectors) -> None:
    with pytest.raises(BadResponse, match="not numbers"):
        _draw(model, vectors * float("nan"))


def test_each_different_text_is_encoded_once_and_batches_change_nothing(model) -> None:
    texts = [(4, 5, 6), (), (7,), (4, 5, 6), (8, 9), (), (7, 7)]
    lens = PlainLens(model)
    found = encode(lens, texts, 64, _rows())
    assert lens.read == [5]
    assert found.n_tokens == 3 + 0 + 1 + 2 + 2
    assert torch.equal(found.vectors, lens.encode(texts))
    for n_rows in (1, 2):
        assert torch.allclose(encode(lens, texts, n_rows, _rows()).vectors, found.vectors)
    assert encode(lens, [], 64, _rows()).vectors.shape == (0, WIDTH)
    assert encode(lens, texts, 64, _rows(), lambda: False) is None


def test_texts_that_do_not_fit_are_halved(model) -> None:
    class Tight(PlainLens):
        def encode(self, token_ids):
            if len(token_ids) > 2:
                raise MemoryError
            return super().encode(token_ids)

    texts, rows = [(token,) for token in range(9)], FittingRows("encoded", CPU, lambda: None)
    assert torch.equal(encode(Tight(model), texts, 8, rows).vectors, PlainLens(model).encode(texts))
    assert (rows.halvings, rows.of(8)) == (2, 2)
