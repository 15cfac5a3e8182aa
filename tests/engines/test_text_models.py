"""Text-pair models in a process of their own, against what they say by definition."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from overnight.engines.state import read_state
from overnight.errors import EngineCrashed, GpuUnusable, UsageError
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.text_model import TextModelSpec
from overnight.text_models import holding as holdings
from overnight.text_models.asked import TextEntailment, TextSimilarity
from overnight.text_models.holding import Holding, hold_entailment, hold_similarity
from overnight.text_models.sources import fetch_text_model
from overnight.uncertainty.answer import count_tokens
from overnight.uncertainty.clusters import cluster_by_entailment, clusters_of
from overnight.uncertainty.relevance import Pair, relevance_of
from tests.engines.tiny_text_models import (
    MAX_TOKENS,
    cosine_of,
    probabilities_of,
    save_classifier,
    save_headless,
    score_of,
)
from tests.unit.uncertainty.answers import generated

pytest.importorskip("torch")
TEXTS = ("Paris", "paris is the capital of France", "Lyon", "is it a city in France ?", "", "no")
PAIRS = [Pair(one, other) for one in TEXTS for other in TEXTS]
# In an order that no published model has: whoever assumes one reads the wrong output.
LABELS = ("contradiction", "entailment", "neutral")
How = Callable[[str], Holding]


@pytest.fixture(scope="module")
def how(tmp_path_factory: pytest.TempPathFactory) -> Iterator[How]:
    root = tmp_path_factory.mktemp("held")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVERNIGHT_CACHE_DIR", str(root / "cache"))
        yield lambda name: Holding(folder=root / name, threads=1, startup_timeout_s=120)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    save_classifier(root / "cross", ("score",))
    save_classifier(root / "nli", LABELS)
    save_headless(root / "headless")
    return root


@pytest.fixture(scope="module")
def cross(tiny: Path, how: How) -> Iterator[TextSimilarity]:
    spec = TextModelSpec(name="cross", kind="cross-encoder", source=str(tiny / "cross"), device="cpu")
    with hold_similarity(spec, how("cross")) as similarity:
        yield similarity


@pytest.fixture(scope="module")
def nli(tiny: Path, how: How) -> Iterator[TextEntailment]:
    spec = TextModelSpec(name="nli", kind="entailment", source=str(tiny / "nli"), device="cpu")
    with hold_entailment(spec, how("nli")) as entailment:
        yield entailment


@pytest.fixture(scope="module")
def minilm_folder(model_cache: Path, how: How) -> Path:
    return fetch_text_model(ConfigRoot(shipped_config()).text_model("all-minilm-l6-v2"), model_cache).path


@pytest.fixture(scope="module")
def minilm(minilm_folder: Path, how: How) -> Iterator[TextSimilarity]:
    spec = ConfigRoot(shipped_config()).text_model("all-minilm-l6-v2")
    local = spec.model_copy(update={"source": str(minilm_folder), "device": "cpu"})
    with hold_similarity(local, how("minilm")) as similarity:
        yield similarity


def test_e1_the_score_of_a_cross_encoder_is_as_it_gives_it(cross: TextSimilarity, tiny: Path) -> None:
    # Many lengths in one batch, against each pair on its own; divided by 5 they would all be below .2.
    scores = cross(PAIRS)
    assert scores == pytest.approx([score_of(tiny / "cross", *pair) for pair in PAIRS], abs=1e-5)
    assert max(scores) - min(scores) > 0.2


def test_a_text_that_is_longer_than_the_model_reads_loses_its_beginning_and_is_counted(
    cross: TextSimilarity,
) -> None:
    # The answer stands at the end: were that cut off, all its tokens would be irrelevant.
    before = cross.n_cut
    long = "paris " * MAX_TOKENS
    ends = cross(
        [Pair(f"{long} yes", "no"), Pair(f"{long} lyon not", "no"), Pair(f"france {long} yes", "no")]
    )
    assert cross.n_cut == before + 3
    assert ends[0] != ends[1]
    assert ends[0] == ends[2]


def test_texts_that_are_no_utf8_are_read_as_far_as_they_are(cross: TextSimilarity) -> None:
    [score] = cross([Pair("paris \ud83d", "paris")])
    assert 0.0 <= score <= 1.0


def test_entailment_is_the_likeliest_label_in_the_order_of_the_model(nli: TextEntailment, tiny: Path) -> None:
    said = [probabilities_of(tiny / "nli", *pair) for pair in PAIRS]
    assert nli(PAIRS) == [max(each, key=each.__getitem__) == "entailment" for each in said]
    found = nli.values(PAIRS)
    assert [each.values[0] for each in found] == pytest.approx(
        [each["entailment"] for each in said], abs=1e-5
    )
    assert set(nli(PAIRS)) == {True, False}  # otherwise this would prove nothing


def test_clusters_are_those_of_both_directions(nli: TextEntailment, tiny: Path) -> None:
    texts = [text for text in TEXTS if text]

    def entails(i: int, j: int) -> bool:
        said = probabilities_of(tiny / "nli", texts[i], texts[j])
        return max(said, key=said.__getitem__) == "entailment"

    assert clusters_of([("", texts)], nli) == [cluster_by_entailment(len(texts), entails)]


def test_the_cosine_is_that_of_the_means_of_the_last_states(
    minilm: TextSimilarity, minilm_folder: Path
) -> None:
    pairs = [Pair(one, other) for one in TEXTS[:4] for other in TEXTS[:4]]
    expected = [max(0.0, cosine_of(minilm_folder, *pair)) for pair in pairs]
    assert minilm(pairs) == pytest.approx(expected, abs=1e-5)


def test_meaning_is_alike_where_it_is_alike(minilm: TextSimilarity) -> None:
    near, far = minilm(
        [Pair("A cat sleeps.", "The kitten is asleep."), Pair("A cat sleeps.", "Taxes rise in May.")]
    )
    assert near > 0.5 > far


def test_e1_what_says_the_same_without_a_token_does_not_need_it(minilm: TextSimilarity) -> None:
    # A space less is the same text to the model: no relevance at all, where the seed had .8.
    answer = count_tokens(generated(["Paris", " ", " ", "France"]))
    [found] = relevance_of([("What is the capital of France?", answer)], minilm)
    assert found[1:3] == pytest.approx((0.0, 0.0), abs=1e-6)
    assert found[0] > 0.02


def test_the_same_text_is_wholly_alike(minilm: TextSimilarity) -> None:
    assert minilm([Pair(text, text) for text in TEXTS]) == [1.0] * len(TEXTS)


def test_a_model_is_loaded_when_it_is_first_asked_and_gone_at_the_end(tiny: Path, how: How) -> None:
    spec = TextModelSpec(name="one", kind="cross-encoder", source=str(tiny / "cross"), device="cpu")
    own = how("gone")
    pair = Pair("paris", "not asked before, is it ?")
    with hold_similarity(spec, own) as similarity:
        assert not (own.folder / "one.json").exists()
        first = similarity([pair])
        state = read_state(own.folder / "one.json")
        assert state.pid is not None
        assert psutil.pid_exists(state.pid)
    assert not psutil.pid_exists(state.pid)
    assert not (own.folder / "one.json").exists()

    # Whoever asks the same again, under any name, needs no process.
    with hold_similarity(spec.model_copy(update={"name": "two"}), own) as similarity:
        assert similarity([pair]) == first
        assert not (own.folder / "two.json").exists()
    assert similarity.n_computed == 0


def test_a_model_that_is_killed_is_asked_again(nli: TextEntailment, how: How) -> None:
    nli([Pair("lyon", "paris")])
    state_path = how("nli").folder / "nli.json"
    before = read_state(state_path)
    psutil.Process(before.pid).kill()
    assert nli([Pair("yes and no", "no and yes")]) in ([True], [False])
    assert read_state(state_path).loads == before.loads + 1


def test_a_model_without_the_weights_of_its_kind_is_refused_in_one_line(tiny: Path, how: How) -> None:
    # transformers would make them up at random and say so in a warning.
    spec = TextModelSpec(name="headless", kind="cross-encoder", source=str(tiny / "headless"), device="cpu")
    with (
        hold_similarity(spec, how("headless")) as similarity,
        pytest.raises(
            EngineCrashed, match=r"no weights for classifier\.\w+, .*: it is no cross-encoder model"
        ) as error,
    ):
        similarity([Pair("a", "b")])
    assert "\n" not in str(error.value)


def test_a_gpu_that_is_not_there_is_refused(tiny: Path, how: How) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here, which is used")
    spec = TextModelSpec(name="cuda", kind="cross-encoder", source=str(tiny / "cross"), device="cuda")
    with (
        hold_similarity(spec, how("cuda")) as similarity,
        pytest.raises(GpuUnusable, match=r"device: cuda is not there for torch \S+; say cpu or leave it out"),
    ):
        similarity([Pair("asked", "nowhere else")])


@pytest.mark.parametrize(
    ("hold", "kind", "wanted"),
    [
        (hold_similarity, "entailment", "does not say how alike two texts are; wanted a cross-encoder or"),
        (
            hold_entailment,
            "cross-encoder",
            "does not say whether one text follows from another; wanted an entail",
        ),
    ],
)
def test_a_model_of_another_kind_is_refused_before_anything_is_fetched(
    hold, kind: str, wanted: str, how: How, monkeypatch
) -> None:
    monkeypatch.setattr(holdings, "fetch_text_model", pytest.fail)
    spec = TextModelSpec(name="m", kind=kind, source="nowhere")
    with pytest.raises(UsageError, match=wanted), hold(spec, how("none")):
        pass
