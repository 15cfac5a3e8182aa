"""The audit in the reports: its rate in all of them, what was found beside it, and nothing where there was none."""

import pytest

from overnight.invariance.record import (
    ArmTally,
    AuditRecord,
    Mismatch,
    PromptTokens,
    Spread,
    Tally,
)
from overnight.report.page import run_page
from overnight.report.reading import read_run
from overnight.report.run_markdown import run_markdown
from overnight.report.trial_markdown import trial_markdown
from overnight.store.files import write_json, write_text

TITLE = "Answers that were asked for again, alone"
NUMBERS = {
    "n": 1234,
    "n_identical": 1207,
    "n_different": 27,
    "n_ties": 17,
    "n_real": 4,
    "n_not_known": 6,
    "rate": 27 / 1234,
    "interval": (0.0144, 0.0317),
}
RECORD = AuditRecord(
    state="incomplete",
    why="EngineUnavailable: <b>gone</b>",
    n_draws=60_000,
    n_chosen=1300,
    confidence=0.95,
    tie_gap=0.125,
    all=Tally(**NUMBERS),
    arms=(
        ArmTally(condition="control", temperature=0.0, **NUMBERS),
        ArmTally(condition="treatment", temperature=0.7, **(NUMBERS | {"rate": None, "interval": None})),
    ),
    prompt_tokens=PromptTokens(
        n=1234, n_different=1, examples=(Mismatch(custom_id="d|<i>|control", evaluated=999, counted=1001),)
    ),
    mean_logprobs=Spread(n=1207, largest=0.00123),
)


def _reports(folder) -> tuple[str, str, str]:
    run = read_run(folder)
    return run_page(run), run_markdown(run), trial_markdown(run, run.trials[0])


@pytest.fixture
def folder(make_run, trial, questions, better_replies):
    return make_run([trial("brief", better_replies), trial("other", better_replies)], questions)


def _files(folder):
    return folder.trial(read_run(folder).trials[0].slug)


def test_the_rate_and_its_interval_are_in_every_report(folder) -> None:
    write_json(_files(folder).audit, RECORD.model_dump(mode="json"))
    for text in _reports(folder):
        for expected in (TITLE, "1,234", "27", "2.2", "1.4 to 3.2", "0.125 nats", "Clopper-Pearson, 95 %"):
            assert expected in text


def test_what_was_found_beside_the_rate_is_said_and_escaped(folder) -> None:
    write_json(_files(folder).audit, RECORD.model_dump(mode="json"))
    for text in _reports(folder):
        for expected in ("is incomplete", "the server read 999 tokens of 1001", "0.00123 nats"):
            assert expected in text
        assert "<b>gone" not in text
        assert "<i>" not in text


def test_the_report_of_a_trial_has_a_row_an_arm(folder) -> None:
    write_json(_files(folder).audit, RECORD.model_dump(mode="json"))
    lines = [line for line in _reports(folder)[2].splitlines() if "| 1,234 |" in line]
    assert sum(line.startswith(("| 0 | control", "| 0.7 | treatment", "| all |")) for line in lines) == 3


def test_without_an_audit_nothing_is_said_of_it(folder) -> None:
    assert all(TITLE not in text and "audit" not in text for text in _reports(folder))


def test_a_damaged_audit_is_named(folder) -> None:
    write_text(_files(folder).audit, "{}")
    for text in _reports(folder):
        assert "audit.json cannot be read" in text
