import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from overnight.cli import main
from overnight.planning.estimate import Measurement
from overnight.prompting.audit import TokenRatio, audit
from overnight.records import ItemType
from overnight.spec.pricing import Rates
from overnight.spec.prompt_set import PromptSet
from overnight.telemetry.rates import store_rate

RATES = Rates(0.15, 0.60, 1.0, is_from_table=False)


def prompts(name: str, control: str = "be good", treatment: str = "be very good", **more: Any) -> PromptSet:
    return PromptSet(name=name, control=control, treatment=treatment, **more)


def look(*sets: PromptSet, ratio: TokenRatio = TokenRatio(), rates: Rates = RATES) -> dict[str, Any]:  # noqa: B008
    return audit(sets, {}, types=ItemType, ratio=ratio, rates=rates)


def test_sizes_are_those_of_the_text() -> None:
    text = "Grüße an\nalle, 东京!"
    arm = look(prompts("p", treatment=text))["prompt_sets"][0]["arms"]["treatment"]
    assert (arm["words"], arm["characters"]) == (4, 18)
    assert arm["sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_tokens_are_flagged_as_the_estimate_that_they_are() -> None:
    record = look(prompts("p", treatment="x" * 400))
    assert record["prompt_sets"][0]["arms"]["treatment"]["tokens_estimated"] == 100
    assert record["tokens_are_estimated"] is True
    assert "assumed" in record["token_basis"]


def test_the_price_of_a_thousand_requests_takes_the_discount_as_a_multiplier() -> None:
    # 100 tokens x 1,000 requests x 2 USD / 1e6 x .25; the original multiplied by one minus the discount.
    rates = Rates(2.0, 9.0, 0.25, is_from_table=True)
    arm = look(prompts("p", treatment="x" * 400), rates=rates)["prompt_sets"][0]["arms"]["treatment"]
    assert arm["usd_per_1000_requests_if_hosted"] == 0.05


@pytest.mark.parametrize(("n_words", "is_matched"), [(90, True), (110, True), (89, False), (111, False)])
def test_a_length_is_matched_within_ten_percent(n_words: int, is_matched: bool) -> None:
    sets = (
        prompts("long", treatment="word " * 100),
        prompts("filler", treatment="word " * n_words, matches_length_of="long"),
    )
    length = look(*sets)["prompt_sets"][1]["length"]
    assert (length["matches"], length["is_matched"]) == ("long treatment", is_matched)
    assert length["words_ratio"] == n_words / 100


def test_as_many_words_of_another_length_are_no_match() -> None:
    sets = (prompts("a", treatment="aaaa " * 50), prompts("b", treatment="bb " * 50, matches_length_of="a"))
    assert look(*sets)["prompt_sets"][1]["length"]["is_matched"] is False


def test_a_name_that_claims_a_matched_length_is_held_to_it() -> None:
    # The seed's length_matched_random has 449 words, its default treatment 947: 0.474.
    sets = (
        prompts("default", control="w " * 47, treatment="w " * 947),
        prompts("length_matched_random", control="w " * 47, treatment="w " * 449),
    )
    length = look(*sets)["prompt_sets"][1]["length"]
    assert (length["matches"], length["is_matched"], length["is_stated"]) == (
        "default treatment",
        False,
        False,
    )
    assert length["words_ratio"] == pytest.approx(449 / 947, abs=1e-4)
    assert "add matches_length_of" in length["undefined_because"]


def test_a_length_to_match_that_nobody_has_is_unknown() -> None:
    length = look(prompts("p", matches_length_of="gone"))["prompt_sets"][0]["length"]
    assert (length["is_matched"], length["undefined_because"]) == (None, "there is no prompt set 'gone'")


def test_a_set_that_claims_no_length_is_not_judged() -> None:
    assert look(prompts("p"))["prompt_sets"][0]["length"] is None


def test_equal_arms_are_said_to_be_equal() -> None:
    assert look(prompts("p", "same", "same"))["prompt_sets"][0]["arms_are_the_same"] is True


def test_a_contradiction_names_its_arm_and_the_items_that_it_concerns() -> None:
    control = "If you do not know the answer, reply exactly `unknown`."
    (finding,) = look(prompts("p", control))["prompt_sets"][0]["findings"]
    assert (finding["arm"], finding["types"], finding["rule"]) == (
        "control",
        ["closed", "open"],
        "abstention_phrase",
    )


def test_what_a_prompt_set_is_as_long_as_is_no_part_of_its_identity() -> None:
    assert prompts("p", matches_length_of="x").identity() == prompts("p").identity()


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as leaving:
        main(["audit-prompts", *arguments])
    out, err = capsys.readouterr()
    return int(leaving.value.code or 0), out, err


def test_a_sweep_is_audited_for_the_items_that_it_asks(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "prompts" / "terse.txt").write_text("Always give an answer.\n")
    sweep, out_json = project / "sweeps" / "s.yaml", tmp_path / "audit.json"
    code, out, _ = command(capsys, str(sweep), "--json", "--out_json", str(out_json))
    record = json.loads(out)
    assert code == 0
    assert [each["name"] for each in record["prompt_sets"]] == ["brief"]
    (finding,) = record["prompt_sets"][0]["findings"]
    assert (finding["rule"], finding["types"]) == ("never_abstains", ["closed"])
    assert json.loads(out_json.read_text()) == record


def test_a_prompt_set_is_audited_by_its_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = command(capsys, str(project / "prompts" / "brief.yaml"))
    assert code == 0
    assert "1 prompt sets, 0 contradictions" in out


def test_every_shipped_set_is_audited_by_default_and_is_as_long_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = command(capsys, "--json")
    sets = {each["name"]: each for each in json.loads(out)["prompt_sets"]}
    assert code == 0
    assert sets["length_matched_filler"]["length"]["is_matched"] is True
    assert sum(len(each["findings"]) for each in sets.values()) == 0


def test_tokens_follow_what_earlier_runs_of_the_model_measured(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256((project / "models" / "tiny.gguf").read_bytes()).hexdigest()
    store_rate(
        Measurement(
            n_requests=10,
            n_truncated=0,
            prompt_tokens=500,
            evaluated_tokens=500,
            completion_tokens=1,
            prompt_bytes=1000,
            new_bytes=1000,
            limit_tokens=10,
            inference_s=1.0,
            load_s=None,
        ),
        model="tiny",
        model_digest=digest,
        engine="llama_cpp",
        machine={},
        settings={},
    )
    _, out, _ = command(capsys, str(project / "sweeps" / "s.yaml"), "--json")
    record = json.loads(out)
    assert (
        record["prompt_sets"][0]["arms"]["control"]["tokens_estimated"] == 11
    )  # 21 bytes, half a token each
    assert "0.500 tokens a byte over 10 measured prompts" in record["token_basis"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody", "no sweep and no prompt set 'nobody'"),
        ("/nowhere/p.yaml", "/nowhere/p.yaml: no such file"),
    ],
)
def test_a_name_that_nothing_has_is_one_line(
    capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    code, _, err = command(capsys, name)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
