import pytest
from markdown_it import MarkdownIt

from overnight.report.text import cell, visible
from overnight.report.wording import shortened

HOSTILE = [
    "a | b",
    "one\ntwo\r\nthree",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "`code` and ```fence```",
    "[x](javascript:alert(1))",
    "![](http://example.org/pixel.png)",
    "<http://example.org>",
    "\\| \\` \\[x](y)",
    "**bold** __bold__ _it_ ~~gone~~ $x$",
    "&lt;b&gt; &amp;",
    "[ref]: http://example.org",
    "# heading\n- list\n> quote",
]


def rendered(text: str) -> str:
    """Return what GitHub's rules make of a table with one cell."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return parser.render(f"| a | b |\n| --- | --- |\n| {text} | last |\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_renders_as_its_own_text_and_nothing_else(text: str) -> None:
    html = rendered(cell(text))
    assert html.count("<td>") == 2  # no border of the table was broken
    assert "<td>last</td>" in html
    body = html.split("<tbody>")[1]
    tags = {part.split(">")[0].split()[0].strip("/") for part in body.split("<")[1:]}
    assert tags <= {"tr", "td", "tbody", "table"}


@pytest.mark.parametrize("text", ["1. The answer is: 14", "I don't know.", "short_answer", "3 - 4 = -1 (!)"])
def test_harmless_text_stays_readable_in_the_source(text: str) -> None:
    assert cell(text) == text


def test_an_address_is_not_made_a_link() -> None:
    # GitHub links a bare address; a backslash before its slashes or dot stops that.
    assert (
        cell("see http://example.org and www.example.org") == "see http\\://example.org and www\\.example.org"
    )


def test_control_characters_are_shown_as_escapes() -> None:
    assert visible("a\x00b\x1b[31mred\x7f") == "a\\x00b\\x1b[31mred\\x7f"
    assert visible("line\nand\ttab") == "line\nand\ttab"
    assert cell("bell\x07") == "bell\\\\x07"  # Markdown shows one backslash for two


def test_characters_that_hide_or_turn_others_are_shown_as_escapes() -> None:
    assert visible("abc\u202edef") == "abc\\u202edef"
    assert visible("\x85\ufeff") == "\\x85\\ufeff"


def test_a_lone_surrogate_is_shown_as_its_escape_and_can_be_written() -> None:
    assert visible("a\ud83db") == "a\\ud83db"
    visible("\udfff").encode("utf-8")


def test_a_long_text_is_shortened_with_its_full_length() -> None:
    text = cell("x" * 100_000)
    assert text.endswith("(100,000 characters in all)")
    assert len(text) < 400


def test_an_escape_is_never_cut_in_two() -> None:
    assert cell("|" * 301) == "\\|" * 300 + " \u2026 (301 characters in all)"


def test_a_long_label_keeps_its_beginning_and_its_end() -> None:
    # Two names that differ at the end alone stay apart.
    assert shortened("a_prompt_with_a_long_name_v1, T 0.7", 21) == "a_prompt_w\u2026_v1, T 0.7"
    assert shortened("short", 21) == "short"
