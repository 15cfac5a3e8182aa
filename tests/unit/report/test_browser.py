import html
import re
from pathlib import Path

import pytest

from overnight.records import Condition
from overnight.report.page import run_page
from overnight.report.reading import read_run
from tests.unit.report.browser import CHROMIUM, opened

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open a page with"),
]


@pytest.fixture
def page(make_run, trial, questions, better_replies, tmp_path) -> Path:
    """Return a page of two trials: in one 10 of 12 items are gained, in the other all are lost."""
    worse = {
        (item.item_id, arm): ("gold", 1.0) if arm is Condition.CONTROL else ("<b>lead</b>", 0.0)
        for item in questions
        for arm in Condition
    }
    path = tmp_path / "report.html"
    folder = make_run([trial("better", better_replies), trial("worse", worse)], questions)
    path.write_text(run_page(read_run(folder)), encoding="utf-8")
    return path


def found(document: str) -> str:
    match = re.search(r'<p id="shown"[^>]*>(.*?)</p>', document)
    assert match
    return match[1]


def test_the_address_chooses_the_items_that_are_shown(page) -> None:
    document = opened(page, "items?trial=0&outcome=gained")
    assert found(document) == "10 of 12 found, 1 to 10 shown"
    shown = document.split('<div id="list"')[1].split("<template")[0]
    assert shown.count("<article") == 10
    assert "Question 2?" in shown
    assert "Question 1?" not in shown  # right in both arms


def test_a_search_and_a_second_trial_find_their_items_and_show_no_markup(page) -> None:
    document = opened(page, "items?trial=1&flag=differ&text=question+7")
    assert found(document) == "1 of 12 found, 1 to 1 shown"
    assert "&lt;b&gt;lead&lt;/b&gt;" in document.split('<div id="list"')[1].split("<template")[0]


def test_the_table_of_trials_is_sorted_by_the_column_that_is_asked_for(page) -> None:
    # Column 6 is the difference in exact match: 10 of 12 gained against 12 of 12 lost.
    for order, names in (("ascending", ["worse", "better"]), ("descending", ["better", "worse"])):
        document = opened(page, f"sort?table-trials.6.{order}")
        table = document.split('id="table-trials"')[1].split("</table>")[0]
        assert re.findall(r'<th scope="row" class="k">(.*?)</th>', table) == names
        assert table.count(f'aria-sort="{order}"') == 1


def test_a_telephone_needs_no_sideways_scroll_however_long_the_words_are(
    make_run, trial, questions, tmp_path
) -> None:
    # 390 pixels are a common telephone; tables scroll in boxes of their own.
    long_word = "x" * 3000
    replies = {
        (item.item_id, arm): (long_word, float(arm is Condition.CONTROL))
        for item in questions
        for arm in Condition
    }
    folder = make_run([trial("a_long_name_" * 8, replies, error=long_word)], questions)
    page = tmp_path / "phone.html"
    # A page in a frame of its parent's origin can be measured by its parent.
    page.write_text(
        '<iframe style="width: 390px; height: 5000px; border: 0" '
        f'srcdoc="{html.escape(run_page(read_run(folder)))}"></iframe><p id="width"></p><script>'
        'const frame = document.querySelector("iframe"), width = document.getElementById("width");'
        "const measure = () => { const root = frame.contentDocument.documentElement;"
        "width.textContent = root.scrollWidth - root.clientWidth };"
        "frame.onload = () => setTimeout(measure, 500)</script>"
    )
    document = opened(page)
    assert document.endswith("</html>\n")
    assert re.findall(r'<p id="width">(\d+)</p>', document) == ["0"]
