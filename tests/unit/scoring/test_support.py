import pytest

from overnight.records import ReplyKind
from overnight.scoring.support import UnsupportedRule, token_overlap, unsupported

OVERLAP = UnsupportedRule(strategy="overlap", min_token_overlap=0.6)
BASELINE = UnsupportedRule(strategy="baseline")
ANSWER = ReplyKind.ANSWER


def test_overlap_by_hand() -> None:
    # {red, fox, ran}: fox and ran occur, red does not.
    assert token_overlap("The red fox ran", "a fox ran home") == pytest.approx(0.6667, abs=5e-5)


def test_a_repeated_word_counts_each_time() -> None:
    assert token_overlap("fox fox wolf", "a fox") == pytest.approx(2 / 3)


@pytest.mark.parametrize(("min_overlap", "expected"), [(0.6, 0.0), (2 / 3, 0.0), (0.7, 1.0), (1.0, 1.0)])
def test_a_claim_is_supported_from_the_threshold_up(min_overlap: float, expected: float) -> None:
    rule = UnsupportedRule(min_token_overlap=min_overlap)
    assert unsupported("The red fox ran", ANSWER, "a fox ran home", rule) == expected


@pytest.mark.parametrize("rule", [OVERLAP, BASELINE])
def test_who_claims_nothing_has_no_unsupported_claim(rule: UnsupportedRule) -> None:
    # The original counted "I don't know." as unsupported.
    assert unsupported("I don't know.", ReplyKind.ABSTENTION, "a fox ran home", rule) is None
    assert unsupported("", ReplyKind.EMPTY, "a fox ran home", rule) is None
    assert unsupported("the", ANSWER, "a fox ran home", rule) is None


@pytest.mark.parametrize(
    ("reply", "expected"), [("Fox ran!", 0.0), ("ran fox", 1.0), ("art", 1.0), ("party", 0.0), ("home", 0.0)]
)
def test_baseline_wants_the_reply_as_one_run_of_whole_words(reply: str, expected: float) -> None:
    assert unsupported(reply, ANSWER, "A fox ran to a party at home.", BASELINE) == expected


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_threshold_at_which_nothing_could_fail_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="min_token_overlap"):
        UnsupportedRule(min_token_overlap=share)


def test_a_strategy_that_is_not_there_is_refused() -> None:
    # The original offered "nli" and quietly did something else.
    with pytest.raises(ValueError, match="nli"):
        UnsupportedRule(strategy="nli")  # type: ignore[arg-type]
