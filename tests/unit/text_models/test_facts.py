from pathlib import Path
from typing import Any

import pytest

from overnight.errors import UsageError
from overnight.spec.text_model import TextModelSpec
from overnight.text_models.facts import TextModelFacts, read_facts
from tests.unit.text_models.folders import MODULES, POOLING, write_embedding, write_model

MNLI = {"0": "CONTRADICTION", "1": "NEUTRAL", "2": "ENTAILMENT"}
NAMELESS = {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}


def facts(folder: Path, kind: str, **more: Any) -> TextModelFacts:
    return read_facts(folder, TextModelSpec(name="m", kind=kind, source=str(folder), **more))


def refused(folder: Path, kind: str, **more: Any) -> str:
    with pytest.raises(UsageError) as caught:
        facts(folder, kind, **more)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("text model m: ")
    return message


@pytest.mark.parametrize(
    ("pooling", "found"),
    [
        (POOLING, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode": "mean", "embedding_dimension": 8}, "mean"),
    ],
)
def test_pooling_is_what_the_model_says(tmp_path: Path, pooling: dict[str, Any], found: str) -> None:
    folder = write_embedding(tmp_path / "m", pooling=pooling)
    assert facts(folder, "sentence-embedding").pooling == found


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        {"pooling_mode_weightedmean_tokens": True},
        {"pooling_mode_lasttoken": True},
        {"word_embedding_dimension": 8},
    ],
)
def test_another_pooling_is_refused_and_not_guessed(tmp_path: Path, pooling: dict[str, Any]) -> None:
    folder = write_embedding(tmp_path / "m", pooling=pooling)
    assert "wanted one of cls, max, mean" in refused(folder, "sentence-embedding")


def test_a_text_is_as_long_as_the_model_was_used_and_not_as_its_positions_allow(tmp_path: Path) -> None:
    config = {"max_position_embeddings": 512}
    own = write_embedding(
        tmp_path / "own", config=config, texts={"max_seq_length": 256, "do_lower_case": True}
    )
    assert facts(own, "sentence-embedding").max_tokens == 256
    assert facts(own, "sentence-embedding").lower_cased
    bare = write_embedding(tmp_path / "bare", config=config)
    assert facts(bare, "sentence-embedding").max_tokens == 512
    longer = write_embedding(tmp_path / "longer", config=config, texts={"max_seq_length": 1024})
    assert facts(longer, "sentence-embedding").max_tokens == 512


def test_the_positions_of_roberta_begin_after_the_padding_token(tmp_path: Path) -> None:
    # 514 of them, for 512 tokens: a text of 513 would be out of range.
    config = {
        "model_type": "roberta",
        "max_position_embeddings": 514,
        "pad_token_id": 1,
        "id2label": {"0": "s"},
    }
    assert facts(write_model(tmp_path / "m", config), "cross-encoder").max_tokens == 512


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            [*MODULES[:2], {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}],
            "names Transformer, Pooling, Dense; wanted Transformer and Pooling",
        ),
        (
            [{**MODULES[0], "path": "0_Transformer"}, MODULES[1]],
            "lies in 0_Transformer; wanted it at the top",
        ),
        ([{**MODULES[0]}, {**MODULES[1], "path": "../x"}], "leads out of the folder"),
        ({"modules": 3}, "not a list of modules"),
    ],
)
def test_a_model_of_other_modules_is_refused(tmp_path: Path, modules: Any, message: str) -> None:
    folder = write_embedding(tmp_path / "m", modules=modules)
    with pytest.raises(UsageError, match=message):
        facts(folder, "sentence-embedding")


def test_a_model_that_reads_texts_behind_a_prompt_is_refused(tmp_path: Path) -> None:
    # Without it the same weights give other vectors, and which prompt is meant for pairs is not said.
    folder = write_embedding(tmp_path / "m")
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {}, "default_prompt_name": null}')
    assert facts(folder, "sentence-embedding").pooling == "mean"
    (folder / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}')
    assert "reads texts behind a prompt (query)" in refused(folder, "sentence-embedding")


def test_a_model_that_does_not_say_how_it_pools_is_refused(tmp_path: Path) -> None:
    assert "no modules.json in it" in refused(write_model(tmp_path / "m"), "sentence-embedding")


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid"},
        {
            "sentence_transformers": {
                "activation_fn": "torch.nn.modules.activation.Sigmoid",
                "version": "4.0.1",
            }
        },
    ],
)
def test_a_cross_encoder_has_one_output_that_goes_through_a_sigmoid(
    tmp_path: Path, own: dict[str, Any]
) -> None:
    folder = write_model(tmp_path / "m", {"id2label": {"0": "LABEL_0"}} | own)
    assert facts(folder, "cross-encoder").kind == "cross-encoder"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"id2label": MNLI}, "has 3 outputs; a cross-encoder has one"),
        ({}, "has 2 outputs"),  # what transformers makes of a config that says nothing
        (
            {
                "id2label": {"0": "s"},
                "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
            },
            "goes through torch.nn.modules.linear.Identity, so it is not between 0 and 1",
        ),
    ],
)
def test_e1_a_score_on_another_scale_is_refused_before_anything_is_loaded(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    assert message in refused(write_model(tmp_path / "m", config), "cross-encoder")


@pytest.mark.parametrize(
    ("names", "place"),
    [
        (MNLI, 2),
        ({"0": "entailment", "1": "neutral", "2": "contradiction"}, 0),
        ({"1": "entailment", "0": "not_entailment"}, 1),
    ],
)
def test_the_order_of_labels_is_that_of_the_model(tmp_path: Path, names: dict[str, str], place: int) -> None:
    assert facts(write_model(tmp_path / "m", {"id2label": names}), "entailment").entailment == place


def test_labels_are_the_configs_where_the_model_names_none(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"id2label": NAMELESS})
    assert facts(folder, "entailment", labels=("neutral", "entailment", "contradiction")).entailment == 1
    assert "labels: missing" in refused(folder, "entailment")
    assert "labels: found 2, the model has 3 outputs" in refused(
        folder, "entailment", labels=("entailment", "no")
    )


def test_labels_that_contradict_the_model_are_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"id2label": MNLI})
    assert facts(folder, "entailment", labels=("contradiction", "neutral", "entailment")).entailment == 2
    message = refused(folder, "entailment", labels=("entailment", "neutral", "contradiction"))
    assert "take them out of the config" in message


def test_a_model_of_other_verdicts_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"id2label": {"0": "toxic", "1": "neutral"}})
    assert "outputs are toxic, neutral; wanted two or more, one of them entailment" in refused(
        folder, "entailment"
    )


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_config_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "config.json").write_text(text)
    refused(folder, "cross-encoder")
