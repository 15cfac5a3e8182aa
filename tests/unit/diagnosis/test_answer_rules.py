import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from overnight.diagnosis.evidence import Answers, Arm, Draws, RunEvidence, TrialEvidence
from overnight.diagnosis.finding import Severity
from overnight.diagnosis.rules.answers import WANTED_SHARE, empty_answers, suggest_limit, truncated

CONTROL, TREATMENT = (Arm("closed", condition, "0.0") for condition in ("control", "treatment"))


def geometric(p: float, limit: int, n: int = 1_000_000) -> Answers:
    """Return answers each of whose tokens is the last one with probability p, cut off at a limit."""
    ended = {length: round(n * p * (1 - p) ** (length - 1)) for length in range(1, limit + 1)}
    return Answers(ended={k: v for k, v in ended.items() if v}, n_cut=n - sum(ended.values()))


def run_with(
    answers: dict[Arm, Answers], *, limit: int = 32, n_empty: int = 0, **changes: object
) -> RunEvidence:
    n = sum(each.n for each in answers.values())
    draws = Draws(n_done=n, answers=answers, n_empty=n_empty, longest_prompt=100, longest_request=130)
    trial = TrialEvidence(
        slug="t",
        model="m",
        context_tokens=512,
        token_limits={"closed": limit},
        limit_keys={"closed": "experiment.defaults.max_new_tokens.closed"},
        draws=draws,
        **changes,  # type: ignore[arg-type]
    )
    return RunEvidence(run_id="r", trials=(trial,))


def test_the_limit_that_is_suggested_is_the_quantile_of_a_known_distribution() -> None:
    # Of a geometric distribution with p = 0.1 the length that 5 % exceed is ln 0.05 / ln 0.9 = 28.4 tokens; the
    # next multiple of 16 is 32.
    assert suggest_limit(geometric(0.1, 16), 16) == (32, True)


@settings(max_examples=40)
@given(p=st.floats(0.02, 0.3), limit=st.integers(8, 64))
def test_no_more_than_the_wanted_share_exceeds_the_limit_that_is_suggested(p: float, limit: int) -> None:
    # The tail of a geometric distribution is (1 - p)^m by definition.
    answers = geometric(p, limit)
    assume(answers.n_cut / answers.n > 0.10)
    new, is_enough = suggest_limit(answers, limit)
    if is_enough:
        assert (1 - p) ** new <= WANTED_SHARE * 1.01
        assert (1 - p) ** (new - 16) >= WANTED_SHARE * 0.99 or new == math.ceil(limit / 16) * 16


def test_a_limit_is_not_extrapolated_beyond_four_times_what_was_seen() -> None:
    # Nothing ended by itself: the lengths say nothing of where the answers would have ended.
    assert suggest_limit(Answers(n_cut=50), 32) == (128, False)


@pytest.mark.parametrize(("n_cut", "is_found"), [(10, False), (11, True)])
def test_truncation_is_found_above_a_tenth_of_the_answers(n_cut: int, is_found: bool) -> None:
    # The threshold is "> 10 %": exactly a tenth is still well.
    look = truncated(run_with({CONTROL: Answers(ended={20: 100 - n_cut}, n_cut=n_cut)}))
    assert bool(look.findings) is is_found
    assert look.saw is not None
    assert f"{n_cut}.0 % of 100" in look.saw


def test_the_remedy_for_truncation_names_the_key_with_its_old_and_new_value() -> None:
    (finding,) = truncated(run_with({CONTROL: Answers(ended={4: 10, 30: 50}, n_cut=40)})).findings
    remedy = finding.remedies[0]
    # 50 answers ended and 50 x 14 + 40 x 16 = 1,340 tokens were written in the upper half: h = 50 / 1340; of 40 %
    # to 5 % it is ln(0.125) / ln(1 - h) = 54.7 tokens more: 86.7, rounded up to a multiple of 16.
    assert (remedy.setting, remedy.old, remedy.new) == ("experiment.defaults.max_new_tokens.closed", 32, 96)
    assert remedy.text.startswith("experiment.defaults.max_new_tokens.closed: 32 -> 96")


def test_truncation_that_differs_between_the_arms_spoils_the_comparison() -> None:
    # One arm loses the ends of its answers and the other does not: that alone makes a difference in scores.
    even = {arm: Answers(ended={20: 80}, n_cut=20) for arm in (CONTROL, TREATMENT)}
    uneven = {CONTROL: Answers(ended={20: 60}, n_cut=40), TREATMENT: Answers(ended={20: 100})}
    assert truncated(run_with(even)).findings[0].severity is Severity.WARNING
    assert truncated(run_with(uneven)).findings[0].severity is Severity.PROBLEM


def test_more_context_is_said_to_do_nothing_where_the_context_was_large_enough() -> None:
    # The longest request took 130 tokens of 512: the limit of the answer ended it.
    (finding,) = truncated(run_with({CONTROL: Answers(ended={20: 1}, n_cut=1)})).findings
    assert "context_tokens" in finding.ineffective[0].what


def test_a_limit_that_the_model_cannot_hold_is_said() -> None:
    # 100 tokens of prompt and a four times longer answer do not fit into 150 tokens.
    (finding,) = truncated(run_with({CONTROL: Answers(n_cut=5)}, trained_context_tokens=150)).findings
    assert any("was made for" in remedy.text for remedy in finding.remedies)


def test_a_run_without_answers_is_not_judged_by_their_length() -> None:
    # Nothing was measured, and nothing wrong found is another thing.
    look = truncated(RunEvidence(run_id="r"))
    assert (look.saw, look.findings, look.not_looked_because) == (None, (), "no draw has an answer")


@pytest.mark.parametrize(("n_empty", "is_found"), [(2, False), (3, True)])
def test_empty_answers_are_found_above_one_in_fifty(n_empty: int, is_found: bool) -> None:
    look = empty_answers(run_with({CONTROL: Answers(ended={1: 100})}, n_empty=n_empty))
    assert bool(look.findings) is is_found


def test_a_stop_string_is_the_first_suspect_of_empty_answers() -> None:
    # An answer that begins with a stop string ends before its first character.
    look = empty_answers(run_with({CONTROL: Answers(ended={1: 10})}, n_empty=9, stop=("\n",)))
    remedy = look.findings[0].remedies[0]
    assert (remedy.setting, remedy.old, remedy.new) == ("experiment.sampling.stop", ["\n"], [])
