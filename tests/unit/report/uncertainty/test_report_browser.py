import re

import pytest

from overnight.report.writing import write_reports
from tests.unit.report.browser import CHROMIUM, opened
from tests.unit.report.uncertainty.sweep_folder import grid

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open a page with"),
]


def test_a_browser_shows_figures_and_tokens_and_refuses_nothing(tmp_path) -> None:
    # `opened` fails on everything that the console has to say: a script that breaks, a figure that the policy refuses.
    folder = grid(
        tmp_path / "run_r1",
        30,
        2,
        statistics={"resamples": 20},
        measures=["g_nll", "rw_g_nll", "n_tokens"],
        labels=["f1"],
    )
    write_reports(folder)
    document = opened(folder.html_report, "tokens?right=0&colour=relevance")
    n_wrong = int(re.search(r'id="tokens-shown"[^>]*>(\d+) of 120 found', document)[1])
    assert 0 < n_wrong < 120
    assert 'data-level="' in document.split('<div id="tokens-list"')[1].split("<nav", maxsplit=1)[0]
    assert (
        document.count('src="data:image/png') == len(list(folder.figures.glob("*.png"))) - 2
    )  # two are words
