"""Gradient steps on a soft prompt: the loss is what it says, whatever fits into memory at a time."""

import math

import pytest

torch = pytest.importorskip("torch")

from overnight.errors import OutOfMemory  # noqa: E402
from overnight.lens.adapter import Adapter  # noqa: E402
from overnight.lens.soft_prompt import SoftPrompt  # noqa: E402
from overnight.lens.training import Taught, Training  # noqa: E402
from overnight.spec.lens import LensFit  # noqa: E402
from tests.engines import tiny_decoders  # noqa: E402
from tests.engines.tiny_decoders import WIDTH  # noqa: E402

FIT = LensFit(datasets=("texts",), steps=6, batch_size=4, measure_every=2, learning_rate=1e-2)


def _taught(n: int = 10, seed: int = 0) -> Taught:
    """Return vectors that say by their sign which of two texts is theirs."""
    draw = torch.Generator().manual_seed(seed)
    vectors = torch.randn((n, WIDTH), generator=draw)
    return Taught(vectors, [(5, 9, 12) if each > 0 else (7, 3) for each in vectors[:, 0]])


def _training(path, *, rank: int = 2, fit: LensFit = FIT) -> Training:
    model = tiny_decoders.model().requires_grad_(False)
    draw = torch.Generator().manual_seed(4)
    torch.manual_seed(8)
    adapter = Adapter.new(model, rank) if rank else None
    shape = (2, WIDTH, WIDTH)
    decoder = SoftPrompt(
        model, torch.randn(shape, generator=draw) * 0.1, torch.zeros(shape[:2]), torch.zeros(WIDTH), torch.ones(WIDTH),
        adapter,
    )  # fmt: skip
    return Training(model, decoder, fit, path / "training.safetensors")


def _numbers(training: Training) -> list:
    return [each.detach().clone() for each in training._learned().values()]


def _no_more_than(model, most: int) -> None:
    """Have a model fail for want of memory where more rows are asked for."""

    def check(_, __, kwargs):
        if len(kwargs["inputs_embeds"]) > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    model.register_forward_pre_hook(check, with_kwargs=True)


def test_the_loss_is_the_mean_negative_log_likelihood_of_the_tokens(tmp_path) -> None:
    training, taught = _training(tmp_path), _taught(5)
    total = 0.0
    with torch.no_grad(), training.decoder.decoding():
        for vector, target in zip(taught.vectors, taught.targets, strict=True):
            soft = training.decoder.soft_tokens(vector[None])
            said = training.model.get_input_embeddings()(torch.tensor([target]))
            logits = training.model(inputs_embeds=torch.cat([soft, said], dim=1)).logits[0]
            for place, token in enumerate(target):
                total -= float(logits[soft.shape[1] - 1 + place].log_softmax(dim=-1)[token])
    with torch.no_grad():
        assert training._mean_loss(taught) == pytest.approx(total / sum(map(len, taught.targets)), rel=1e-5)


def test_what_fits_at_a_time_changes_no_step(tmp_path) -> None:
    # Gradients are of the mean over the batch: parts of it are added up. 1e-5: sums in another order.
    whole, parts = _training(tmp_path / "a"), _training(tmp_path / "b")
    _no_more_than(parts.model, 2)
    parts.rows = 2
    for training in (whole, parts):
        training.run(_taught(), _taught(2, seed=1), lambda _: None)
    assert parts.rows == 2
    for one, other in zip(_numbers(whole), _numbers(parts), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_batch_that_does_not_fit_is_halved(tmp_path) -> None:
    training = _training(tmp_path)
    whole = _training(tmp_path / "whole")
    places, learned = [0, 1, 2, 3], training._learned()
    with torch.no_grad():
        expected = float(whole._loss(_taught(), places)) / sum(len(_taught().targets[p]) for p in places)
    _no_more_than(training.model, 1)
    optimiser = torch.optim.SGD(learned.values(), lr=0.0)
    order = [_taught().targets[p] for p in places]
    alone = Taught(_taught().vectors[places], order)
    assert training._step(alone, 0, learned, optimiser) == pytest.approx(expected, rel=1e-5)
    assert training.rows == 1
    _no_more_than(training.model, 0)
    with pytest.raises(OutOfMemory, match="even one vector"):
        training._step(alone, 0, learned, optimiser)


def test_it_learns_and_leaves_the_decoder_at_its_best(tmp_path) -> None:
    fit = FIT.model_copy(update={"steps": 60, "measure_every": 10, "learning_rate": 3e-2})
    training, held = _training(tmp_path, fit=fit), _taught(6, seed=1)
    told = []
    history = training.run(_taught(40), held, told.append)
    assert told == history
    assert [each.step for each in history] == list(range(0, 61, 10))
    best = min(each.held_out_loss for each in history)
    assert best < 0.75 * history[0].held_out_loss
    with torch.no_grad():
        assert training._mean_loss(held) == pytest.approx(best, rel=1e-6)


def test_the_models_own_weights_stay_as_they_were(tmp_path) -> None:
    training = _training(tmp_path)
    training.run(_taught(), _taught(2, seed=1), lambda _: None)
    plain = tiny_decoders.model()
    for (name, one), (other_name, other) in zip(
        training.model.named_parameters(), plain.named_parameters(), strict=True
    ):
        assert name == other_name
        assert torch.equal(one, other)


@pytest.mark.parametrize("killed_after", [0, 2, 4])
def test_a_training_that_was_killed_comes_to_the_same_numbers(tmp_path, killed_after: int) -> None:
    taught, held = _taught(), _taught(3, seed=1)
    whole = _training(tmp_path / "whole")
    expected = whole.run(taught, held, lambda _: None)

    class Killed(Exception):
        pass

    def kill(found) -> None:
        if found.step == killed_after + 2:
            raise Killed  # before this measurement is written down

    with pytest.raises(Killed):
        _training(tmp_path / "killed").run(taught, held, kill)
    again = _training(tmp_path / "killed")
    assert again.run(taught, held, lambda _: None) == expected
    for one, other in zip(_numbers(whole), _numbers(again), strict=True):
        assert torch.equal(one, other)


def test_it_ends_where_nothing_gets_better(tmp_path) -> None:
    fit = FIT.model_copy(update={"steps": 100, "learning_rate": 1e-12, "patience": 2})
    history = _training(tmp_path, fit=fit).run(_taught(), _taught(3, seed=1), lambda _: None)
    assert history[-1].step < 100
    assert all(math.isfinite(each.held_out_loss) for each in history)


def test_every_vector_is_seen_once_before_any_is_seen_again() -> None:
    from overnight.lens.training import _batch

    seen = [place for step in range(5) for place in _batch(10, 4, step, 7)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    assert _batch(3, 8, 0, 7) == _batch(3, 3, 0, 7)  # a batch is never larger than what there is
