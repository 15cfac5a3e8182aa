import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from overnight.spec.config_root import shipped_config

TRAITS = ("certainty", "deception", "doubt", "hedging", "refusal", "sycophancy")
PAIRS = 40
SIDES = ("positive", "negative")
GROUPS = {
    "uncertainty": 8,
    "commitment": 4,
    "cognitive": 4,
    "sycophancy": 4,
    "tier3_uncertainty": 2,
    "tier3_cognitive": 2,
}
SETS = shipped_config() / "traits"
PROMPTS = shipped_config() / "prompts" / "traits"
FILES = sorted(path for folder in (SETS, PROMPTS) for path in folder.rglob("*") if path.is_file())


def lines(trait: str, side: str) -> list[str]:
    return (SETS / trait / f"{side}.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")


def pairs(trait: str) -> list[tuple[str, str]]:
    return list(zip(*(lines(trait, side) for side in SIDES), strict=True))


def prompts(group: str) -> list[str]:
    text = (PROMPTS / f"{group}.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def runs(text: str, length: int) -> set[str]:
    spoken = words(text)
    return {" ".join(spoken[at : at + length]) for at in range(len(spoken) - length + 1)}


def tails(positive: str, negative: str) -> tuple[list[str], list[str]]:
    """Return what each text of a pair says after the scene that both begin with."""
    one, other = positive.split(), negative.split()
    shared = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    return one[shared:], other[shared:]


def all_texts() -> Iterable[tuple[tuple[str, int], str]]:
    for trait in TRAITS:
        for side in SIDES:
            for number, text in enumerate(lines(trait, side), start=1):
                yield (trait, number), text


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_file_is_plain_utf8_that_ends_with_a_newline(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    strange = {char for char in text if char != "\n" and unicodedata.category(char)[0] == "C"}
    assert not strange  # among them carriage returns, tabs, byte order marks, zero-width spaces
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert all(line == line.rstrip() for line in text.split("\n"))


@pytest.mark.parametrize("trait", TRAITS)
def test_a_set_has_forty_pairs_and_no_text_twice(trait: str) -> None:
    both = [text for side in SIDES for text in lines(trait, side)]
    assert [len(lines(trait, side)) for side in SIDES] == [PAIRS, PAIRS]
    assert all(text == text.strip() and text for text in both)
    assert len(set(both)) == len(both)


@pytest.mark.parametrize("trait", TRAITS)
def test_a_pair_shares_its_scene_and_its_last_word(trait: str) -> None:
    # What a scene is about must cancel in the difference, and the state at the last token must have read the same
    # word on both sides.
    for positive, negative in pairs(trait):
        one, other = tails(positive, negative)
        assert min(len(one), len(other)) >= 5, positive
        assert len(positive.split()) - len(one) >= 12, positive
        assert words(one[-1]) == words(other[-1]), (positive, negative)
        assert (one[-1][-1] in '.?!"') == (other[-1][-1] in '.?!"'), (positive, negative)


@pytest.mark.parametrize("trait", TRAITS)
def test_most_texts_stop_in_the_middle_of_a_sentence(trait: str) -> None:
    unfinished = [text for text in lines(trait, "positive") if text[-1] not in '.?!"']
    assert len(unfinished) >= 0.9 * PAIRS


@pytest.mark.parametrize("trait", TRAITS)
def test_neither_side_is_longer(trait: str) -> None:
    # Else a vector measures length. What comes after the shared scene is compared, which is stricter than all of it.
    found = [tails(*pair) for pair in pairs(trait)]
    n_words = [[len(tail[side]) for tail in found] for side in (0, 1)]
    n_chars = [[len(" ".join(tail[side])) for tail in found] for side in (0, 1)]
    for one, other in (n_words, n_chars):
        assert fmean(one) == pytest.approx(fmean(other), rel=0.05)
    assert all(2 / 3 < a / b < 3 / 2 for a, b in zip(*n_chars, strict=True))


@pytest.mark.parametrize("trait", TRAITS)
@pytest.mark.parametrize("mark", '?!"')
def test_neither_side_asks_exclaims_or_speaks_more_often(trait: str, mark: str) -> None:
    counts = [sum(text.count(mark) for text in lines(trait, side)) for side in SIDES]
    assert abs(counts[0] - counts[1]) <= PAIRS / 10


@pytest.mark.parametrize("trait", TRAITS)
def test_no_more_than_a_tenth_begin_with_the_same_two_words(trait: str) -> None:
    openings = Counter(" ".join(words(text)[:2]) for text in lines(trait, "positive"))
    assert max(openings.values()) <= PAIRS / 10


def test_no_two_scenes_of_any_set_share_seven_words_in_a_row() -> None:
    where = defaultdict(set)
    for pair, text in all_texts():
        for run in runs(text, 7):
            where[run].add(pair)
    assert [run for run, found in where.items() if len(found) > 1] == []


@pytest.mark.parametrize("trait", TRAITS)
def test_a_definition_says_what_high_middle_and_low_look_like(trait: str) -> None:
    found = (SETS / trait / "definition.txt").read_text(encoding="utf-8").splitlines()
    assert 3 <= len(found) <= 8
    assert [line.split()[0] for line in found if line.split()[0] in {"High", "Middle", "Low"}] == [
        "High",
        "Middle",
        "Low",
    ]


def test_the_prompt_groups_hold_as_many_prompts_as_the_design_asks_for() -> None:
    assert {path.stem for path in PROMPTS.glob("*.txt")} == set(GROUPS)
    assert {group: len(prompts(group)) for group in GROUPS} == GROUPS


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_says_at_its_head_what_it_is_for(group: str) -> None:
    text = (PROMPTS / f"{group}.txt").read_text(encoding="utf-8").splitlines()
    n_prompts = GROUPS[group]
    assert all(line.startswith("#") for line in text[:-n_prompts])
    assert text[0].startswith("# ")
    assert all(prompt.strip() for prompt in prompts(group))


@pytest.mark.parametrize("group", ["uncertainty", "cognitive"])
def test_the_prompts_of_tier_3_stand_in_their_group_to_the_letter(group: str) -> None:
    # So that 24 captures take 20 passes.
    assert set(prompts(f"tier3_{group}")) < set(prompts(group))


def test_apart_from_tier_3_no_prompt_stands_twice() -> None:
    found = [prompt for group in GROUPS if not group.startswith("tier3_") for prompt in prompts(group)]
    assert len(found) == len(set(found)) == 20


def test_the_instruction_set_has_what_extraction_reads() -> None:
    found = yaml.safe_load((SETS / "confidence" / "instructions.yaml").read_text(encoding="utf-8"))
    assert set(found) == {"instructions", "questions", "eval_prompt"}
    assert len(found["instructions"]) == 5
    assert len(set(found["questions"])) == len(found["questions"]) == 20
    assert re.findall(r"\{.*?\}", found["eval_prompt"]) == ["{question}", "{answer}"]
    sides = [pair[side] for pair in found["instructions"] for side in SIDES]
    assert len(set(sides)) == 10


def test_the_two_instructions_of_a_pair_are_about_equally_long() -> None:
    found = yaml.safe_load((SETS / "confidence" / "instructions.yaml").read_text(encoding="utf-8"))
    for pair in found["instructions"]:
        assert set(pair) == set(SIDES)
        assert len(words(pair["positive"])) == pytest.approx(len(words(pair["negative"])), rel=0.15)


def test_nothing_is_taken_from_the_public_sets(shared_data: Path) -> None:
    # Written for this project: no line of theirs, and no six words of theirs in a row, in a definition either.
    public = [path.read_text(encoding="utf-8-sig") for path in (shared_data / "traits").glob("*/*.txt")]
    assert public, shared_data
    ours = [path.read_text(encoding="utf-8") for path in FILES]
    their_lines = {line.strip() for text in public for line in text.splitlines() if line.strip()}
    their_runs = {run for line in their_lines for run in runs(line, 6)}
    our_lines = {line.strip() for text in ours for line in text.splitlines()}
    assert our_lines & their_lines == set()
    assert {run for line in our_lines for run in runs(line, 6)} & their_runs == set()
