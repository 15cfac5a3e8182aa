"""What the terminal shows while a run goes on: bars where there is a terminal, plain lines where there is none."""

import contextlib
import os.path
import threading
from collections.abc import Iterator
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from overnight.store.manifest import read_manifest
from overnight.store.run_folder import RunFolder
from overnight.telemetry.progress import BOARD, TrialProgress

_FRAME_S = 0.5
_LINE_S = 15.0
_BAR = 12  # characters


@contextlib.contextmanager
def shown(console: Console, folder: RunFolder) -> Iterator[None]:
    """Show the progress of a run while the block runs."""
    BOARD.clear()
    slugs = list(read_manifest(folder).trials)
    leave = threading.Event()
    thread = threading.Thread(
        target=(lambda: _bars(console, leave, slugs))
        if console.is_terminal
        else (lambda: _lines(console, leave)),
        name="display",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        leave.set()
        thread.join()


def _bars(console: Console, leave: threading.Event, slugs: list[str]) -> None:
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            is_last = leave.wait(_FRAME_S)
            live.update(_screen(slugs))
            if is_last:
                return


def _screen(slugs: list[str]) -> RenderableType:
    notice = BOARD.notice
    return _table(slugs) if notice is None else Group(_table(slugs), Text(notice))


def _table(slugs: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, expand=False)
    table.add_column("trial", no_wrap=True, overflow="ellipsis")
    table.add_column("", width=_BAR)
    for title, width in (("done", 15), ("items/min", 9), ("tokens/s", 8), ("left", 7)):
        table.add_column(title, justify="right", no_wrap=True, min_width=width)  # the label gives way
    board = {trial.slug: trial for trial in BOARD.snapshot()}
    for slug, label in zip(slugs, labels(slugs), strict=True):
        trial = board.get(slug)
        if trial is None:
            table.add_row(label, ProgressBar(total=1, completed=0, width=_BAR), "waiting", "", "", "")
        else:
            table.add_row(label, _bar(trial), _done(trial), *_rates(trial))
    if board:
        table.add_row("all trials", "", *_overall(list(board.values()), len(slugs)))
    else:
        table.add_row("starting", "", "", "", "", "")
    return table


def labels(slugs: list[str]) -> list[str]:
    """Return the slugs without the words that all of them begin with and without their digits of the fingerprint."""
    if len(slugs) == 1:
        return slugs
    words = [slug.split("-") for slug in slugs]
    n_shared = len(os.path.commonprefix(words))
    return ["-".join(word[n_shared:-1]) or "-".join(word) for word in words]


def _bar(trial: TrialProgress) -> ProgressBar:
    return ProgressBar(total=max(trial.n_expected, 1), completed=trial.n_done + trial.n_errors, width=_BAR)


def _done(trial: TrialProgress) -> str:
    errors = f", {trial.n_errors} failed" if trial.n_errors else ""
    return f"{trial.n_done}/{trial.n_expected}{errors}"


def _rates(trial: TrialProgress) -> tuple[str, str, str]:
    sent = trial.n_done - trial.n_before + trial.n_errors
    elapsed = trial.elapsed_s
    if not sent or elapsed <= 0:
        return "", "", ""
    rate = sent / elapsed
    tokens = f"{trial.completion_tokens / elapsed:.0f}" if trial.completion_tokens else ""
    left = trial.n_expected - trial.n_done - trial.n_errors
    return f"{rate * 60:.0f}", tokens, _duration(left / rate) if left else "done"


def _overall(trials: list[TrialProgress], n_trials: int) -> tuple[str, str, str, str]:
    sent = sum(t.n_done - t.n_before + t.n_errors for t in trials)
    elapsed = _busy_s(trials)
    done = sum(t.n_done for t in trials)
    known = sum(t.n_expected for t in trials)
    # Trials that have not begun are taken to be as long as those that have.
    expected = known * n_trials // len(trials)
    if not sent or elapsed <= 0:
        return f"{done}/{expected}", "", "", ""
    rate = sent / elapsed
    tokens = sum(t.completion_tokens for t in trials) / elapsed
    left = expected - done - sum(t.n_errors for t in trials)
    return (
        f"{done}/{expected}",
        f"{rate * 60:.0f}",
        f"{tokens:.0f}" if tokens else "",
        _duration(left / rate) if left > 0 else "done",
    )


def _busy_s(trials: list[TrialProgress]) -> float:
    """Return the seconds in which anybody generated; those in which several models did count once."""
    busy, until = 0.0, float("-inf")
    for begin, end in sorted((t.started_s, t.started_s + t.elapsed_s) for t in trials):
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    return busy


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _lines(console: Console, leave: threading.Event) -> None:
    """Print a line when a trial begins, one every so often while it runs, and one when it has ended."""
    begun: set[str] = set()
    ended: set[str] = set()
    waited = 0.0
    said: str | None = None
    while True:
        is_last = leave.wait(_FRAME_S)
        waited += _FRAME_S
        if (notice := BOARD.notice) != said:
            said = notice
            if notice is not None:
                _say(console, notice)
        board = BOARD.snapshot()
        for trial in board:
            if trial.slug not in begun:
                begun.add(trial.slug)
                _say(console, f"{trial.slug}: begins, {_done(trial)} draws are there")
            if trial.ended_s is not None and trial.slug not in ended:
                ended.add(trial.slug)
                _say(console, _line(trial))
            elif trial.ended_s is None and waited >= _LINE_S:
                _say(console, _line(trial))
        if waited >= _LINE_S:
            waited = 0.0
        if is_last:
            return


def _line(trial: TrialProgress) -> str:
    items, tokens, left = _rates(trial)
    rates = [f"{items} items/min" if items else "", f"{tokens} tokens/s" if tokens else ""]
    ending = "" if left in ("", "done") else f"{left} left"
    return ", ".join(part for part in (f"{trial.slug}: {_done(trial)}", *rates, ending) if part)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
