import re
from pathlib import Path

import pytest

from overnight.records import FinishReason
from overnight.report.templating import ours, script_digest
from overnight.report.token_view import SCRIPT, STYLES, TokenExample, token_section, token_view
from overnight.uncertainty.answer import AnswerToken, GeneratedAnswer
from tests.unit.report.browser import CHROMIUM, opened

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open a page with"),
]


def made_up(number: int) -> TokenExample:
    pieces = [b"<b>", " caf\u00e9".encode(), b"\xf0\x9f", b"\x8d\x8e", f" {number}".encode()]
    tokens = [AnswerToken(piece=piece, logprob=-0.1 * n * (number + 1)) for n, piece in enumerate(pieces)]
    text = b"".join(pieces).decode()
    return TokenExample(
        trial=f"trial {number % 2}",
        item_key=f"d|{number}",
        question=f"Question {number}?",
        golds=("gold",),
        is_right=number % 3 == 0,
        answer=GeneratedAnswer(
            text=text,
            tokens=(*tokens, AnswerToken(piece=b"", logprob=-0.2, ends=True)),
            finish_reason=FinishReason.STOP,
        ),
        relevance=tuple(0.1 * n for n in range(5)),
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return a page with 24 answers, under the policy that reports have."""
    section = token_section(token_view(map(made_up, range(24)), label="F1"))
    script = ours(SCRIPT)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script_digest(script)}'"
    path = tmp_path / "tokens.html"
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{policy}"><title>t</title><style>{ours("report.css", *STYLES)}</style>'
        f"<body>{section}<script>{script}</script></body></html>",
        encoding="utf-8",
    )
    return path


def shown(document: str) -> tuple[str, str]:
    """Return what is said to be found, and the cards."""
    said = re.search(r'<p id="tokens-shown"[^>]*>(.*?)</p>', document)
    assert said
    return said[1], document.split('<div id="tokens-list"')[1].split("<nav", maxsplit=1)[0]


def test_ten_answers_are_shown_at_a_time_and_the_address_chooses_which(page: Path) -> None:
    said, cards = shown(opened(page, "tokens"))
    assert said == "24 of 24 found, 1 to 10 shown"
    assert cards.count("<article") == 10
    said, cards = shown(opened(page, "tokens?right=0&trial=1&page=1&text=question+5"))
    assert said == "1 of 24 found, 1 to 1 shown"
    assert "Question 5?" in cards


def test_a_token_is_text_with_a_colour_and_a_label_and_one_of_them_can_be_reached(page: Path) -> None:
    _, cards = shown(opened(page, "tokens?text=question+23"))
    assert "<b>" not in cards
    assert "&lt;b&gt;" in cards
    spans = re.findall(r"<span [^>]*role=\"option\"[^>]*>", cards)
    assert len(spans) == 6
    assert sum('tabindex="0"' in span for span in spans) == 1
    # The tokens of item 23 have 0, 2.4, 4.8, 7.2 and 9.6 nats: probability 1, then below 20 % and below 5 %.
    assert [level[1] for span in spans if (level := re.search(r'data-level="(\d)"', span))] == list("04555")
    assert "bytes f0 9f" in cards
    assert "end of the answer" in cards


def test_colours_are_of_relevance_where_that_is_chosen(page: Path) -> None:
    _, cards = shown(opened(page, "tokens?text=question+23&colour=relevance"))
    # Relevances 0, .1, .2, .3 and .4.
    assert re.findall(r'data-level="(\d)"', cards) == list("03445")


def test_the_most_surprising_answer_comes_first_where_that_is_chosen(page: Path) -> None:
    _, cards = shown(opened(page, "tokens?order=down"))
    assert re.findall(r"Question \d+\?(?=</h3>)", cards)[:2] == ["Question 23?", "Question 22?"]
