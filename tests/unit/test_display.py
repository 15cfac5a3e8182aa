"""The progress display: what a person reads in a narrow terminal."""

from rich.console import Console

from overnight.cli.display import _screen, _table, labels
from overnight.telemetry.progress import BOARD

SLUGS = ["m-135m-q4-short_answer-tp1-tk50-mx48-48-4d8c2d79", "m-135m-q4-calibrated-tp1-tk50-mx48-48-26d8792d"]


def test_labels_leave_out_what_all_trials_share() -> None:
    assert labels(SLUGS) == ["short_answer-tp1-tk50-mx48-48", "calibrated-tp1-tk50-mx48-48"]


def test_the_label_of_a_single_trial_is_its_slug() -> None:
    assert labels(SLUGS[:1]) == SLUGS[:1]


def test_rates_can_be_read_in_eighty_columns() -> None:
    BOARD.clear()
    BOARD.start(SLUGS[0], n_expected=96, n_done=10)
    BOARD.add(SLUGS[0], n_done=30, n_errors=1, completion_tokens=400)
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(_table(SLUGS))
    console.file.close()
    text = console.export_text()
    BOARD.clear()
    assert "40/96, 1 failed" in text
    assert "items/min" in text
    assert "calibrated-tp1" in text
    assert "waiting" in text


def test_what_a_run_waits_for_stands_below_its_trials() -> None:
    BOARD.clear()
    BOARD.say("waiting for GPU 0, held by run friday")
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(_screen(SLUGS))
    BOARD.say(None)
    console.print(_screen(SLUGS))
    console.file.close()
    assert console.export_text().count("waiting for GPU 0, held by run friday") == 1
