import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from overnight.engines.protocol import Token
from overnight.errors import UndefinedMetricError
from overnight.records import AnswerRule, Item, ItemType, Score
from overnight.scoring.score import score_reply
from overnight.scoring.support import UnsupportedRule
from overnight.uncertainty.judging import Judgement, read_judgement
from overnight.uncertainty.label_agreement import agreement, agreements
from overnight.uncertainty.labels import LABELS, ScoredAnswer, label_items
from overnight.uncertainty.table import Cell, Column, ItemTable


def scored(text: str, golds: tuple[str, ...], **more) -> ScoredAnswer:
    item = Item(
        dataset="d",
        item_id="1",
        type=ItemType.CLOSED,
        question="?",
        answers=golds,
        rule=more.pop("rule", AnswerRule.SQUAD),
    )
    return ScoredAnswer(
        item_key="d|1", score=score_reply(item, text, UnsupportedRule(), with_rouge=True), **more
    )


def labels_of(answer: ScoredAnswer) -> dict[str, float | None]:
    table = label_items([answer], list(LABELS.values()))
    return {column.name: column.cells[0].value for column in table.columns}


@pytest.mark.parametrize(
    ("text", "golds", "em", "f1", "rouge_l"),
    [
        ("Paris", ("Paris",), 1.0, 1.0, 1.0),
        # 1 of 3 words for 1 of 1: P 1/3, R 1, F 1/2, which reaches the threshold of F1.
        ("Paris in France", ("Paris",), 0.0, 1.0, 1.0),
        # P 1/6, R 1, F 2/7 = .286: below both.
        ("Paris lies somewhere within northern France", ("Paris",), 0.0, 0.0, 0.0),
        # P 1/5, R 1, F 1/3: between the two thresholds.
        ("Paris lies within northern France", ("Paris",), 0.0, 0.0, 1.0),
        # All words, in another order: one bag, but a common subsequence of 1 in 2.
        ("France Paris", ("Paris France",), 0.0, 1.0, 1.0),
        ("", ("Paris",), 0.0, 0.0, 0.0),
    ],
)
def test_labels_by_hand(text: str, golds: tuple[str, ...], em: float, f1: float, rouge_l: float) -> None:
    assert labels_of(scored(text, golds)) == {"em": em, "f1": f1, "rouge_l": rouge_l, "judge": None}


def test_a_rouge_l_of_exactly_the_threshold_is_right() -> None:
    # 3 of 10 words on both sides: P = R = F = .3.
    said, gold = (
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"],
        ["a", "b", "c", "q", "r", "s", "t", "u", "v", "w"],
    )
    assert labels_of(scored(" ".join(said), (" ".join(gold),)))["rouge_l"] == 1.0


def test_a_number_is_right_by_its_value() -> None:
    assert labels_of(scored("So it is 51.", ("51",), rule=AnswerRule.NUMERIC))["em"] == 1.0


def test_an_item_without_golds_is_neither_right_nor_wrong() -> None:
    table = label_items([scored("Paris", ())], list(LABELS.values()))
    assert [column.cells[0].value for column in table.columns] == [None] * 4
    assert "not defined" in table.column("em").cells[0].undefined_because


def test_e9_labels_are_columns_of_their_own_with_versions() -> None:
    # The seed printed F1 >= 50 as "judge accuracy", and judged again only what was wrong.
    judged = scored("Paris", ("Lyon",), judgement=Judgement(yes_logprob=-0.1, no_logprob=-3.0, judge="m@1"))
    assert labels_of(judged) == {"em": 0.0, "f1": 0.0, "rouge_l": 0.0, "judge": 1.0}
    table = label_items([judged], list(LABELS.values()))
    assert all(column.version >= 1 for column in table.columns)
    assert [column.source for column in table.columns] == [None, None, None, "m@1"]


def test_e9_two_judges_do_not_share_a_column() -> None:
    judged = [
        ScoredAnswer(
            item_key=f"d|{judge}",
            score=scored("Paris", ("Paris",)).score,
            judgement=Judgement(yes_logprob=-0.1, no_logprob=None, judge=judge),
        )
        for judge in ("one", "other")
    ]
    with pytest.raises(ValueError, match="2 judges in one column: one, other"):
        label_items(judged, [LABELS["judge"]])


def judged(*alternatives: tuple[bytes, float]) -> Judgement:
    return read_judgement([Token(piece=piece, logprob=log) for piece, log in alternatives], "m@1")


def test_e16_only_the_word_itself_is_a_judgement() -> None:
    # "no" is in "know" and "not"; the seed took the first substring it found, and 0 where it found none.
    with pytest.raises(UndefinedMetricError, match="neither yes nor no"):
        judged((b"know", -0.1), (b"not", -0.2), (b"yesterday", -0.3), (b"No,", -0.4)).says_yes()


def test_spellings_of_one_word_add_up() -> None:
    # .3 + .1 for yes, .35 for no.
    found = judged((b"Yes", math.log(0.3)), (b" NO", math.log(0.35)), (b"\nyes", math.log(0.1)))
    assert found.yes_logprob == pytest.approx(math.log(0.4))
    assert found.no_logprob == pytest.approx(math.log(0.35))
    assert found.says_yes()


def test_of_two_the_one_that_is_not_among_the_likeliest_is_less_likely() -> None:
    assert judged((b"yes", -5.0), (b"maybe", -0.1)).says_yes()
    assert not judged((b"no", -5.0), (b"maybe", -0.1)).says_yes()


def test_a_judge_that_cannot_choose_gives_no_label() -> None:
    with pytest.raises(UndefinedMetricError, match="equally likely"):
        Judgement(yes_logprob=-0.7, no_logprob=-0.7, judge="m@1").says_yes()


PAIRS = st.lists(st.tuples(*[st.sampled_from([1.0, 0.0, None])] * 2), max_size=12)


def table_of(pairs) -> ItemTable:
    return ItemTable(
        item_keys=tuple(f"d|{row}" for row in range(len(pairs))),
        columns=tuple(
            Column(name=name, version=1, cells=tuple(Cell(value=pair[place]) for pair in pairs))
            for place, name in enumerate(("em", "judge"))
        ),
    )


def test_agreement_by_hand() -> None:
    # 45 both right, 15 and 25 alone, 15 neither: agreement .6, by chance .6 x .7 + .4 x .3 = .54.
    pairs = [(1.0, 1.0)] * 45 + [(1.0, 0.0)] * 15 + [(0.0, 1.0)] * 25 + [(0.0, 0.0)] * 15
    [found] = agreements(table_of([*pairs, (None, 1.0)]))
    assert (found.one, found.other, found.n) == ("em", "judge", 100)
    assert (found.n_both_right, found.n_only_one, found.n_only_other, found.n_both_wrong) == (45, 15, 25, 15)
    assert found.raw == 0.6
    assert found.kappa == pytest.approx((0.6 - 0.54) / (1 - 0.54))


@settings(max_examples=30)
@given(PAIRS)
def test_agreement_is_that_of_scikit_learn_on_the_items_that_have_both(pairs) -> None:
    found = agreement(table_of(pairs), "em", "judge")
    both = [pair for pair in pairs if None not in pair]
    assert found.n == len(both)
    if not both:
        assert found.raw is None
        assert found.kappa_undefined_because == "no item has both labels"
    elif len({value for pair in both for value in pair}) == 1:
        assert found.raw == 1.0
        assert found.kappa is None
        assert "chance" in found.kappa_undefined_because
    else:
        one, other = zip(*both, strict=True)
        assert found.kappa == pytest.approx(cohen_kappa_score(one, other))
        (right, only_one), (only_other, wrong) = confusion_matrix(one, other, labels=[1.0, 0.0])
        assert (found.n_both_right, found.n_only_one) == (right, only_one)
        assert (found.n_only_other, found.n_both_wrong) == (only_other, wrong)


def test_a_score_without_rouge_has_no_such_label() -> None:
    score = Score(
        exact_match=1.0, f1=1.0, is_abstention=False, is_empty=False, false_answer=None, unsupported=None
    )
    assert labels_of(ScoredAnswer(item_key="d|1", score=score))["rouge_l"] is None
