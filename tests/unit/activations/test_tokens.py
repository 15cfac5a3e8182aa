from collections.abc import Sequence

from overnight.activations.tokens import written_pieces


def decoding(*pieces: bytes):
    """Return what decodes tokens of these bytes, as a tokenizer does: U+FFFD for what is no character."""

    def decode(ids: Sequence[int]) -> str:
        return b"".join(pieces[each] for each in ids).decode("utf-8", "replace")

    return decode


def test_each_token_has_the_bytes_that_it_writes() -> None:
    pieces = (b"<|im_start|>", b"user", b"\n", b" caf", b"\xc3\xa9", b"\xe2\x82", b"\xac", b"!")
    found = written_pieces(range(len(pieces)), decoding(*pieces))
    # The euro sign has three bytes; of its two tokens the first gets one, since nobody says how many it wrote.
    assert found == (
        {"text": "<|im_start|>"},
        {"text": "user"},
        {"text": "\n"},
        {"text": " caf"},
        {"text": "é"},
        {"hex": "e2"},
        {"hex": "82ac"},
        {"text": "!"},
    )


def test_a_space_that_a_tokenizer_takes_off_the_front_stays_with_its_word() -> None:
    # Tokenizers of the sentencepiece kind decode what they are given without the space in front of it.
    words = decoding(b" one", b" two", b" three")
    found = written_pieces(range(3), lambda ids: words(ids).removeprefix(" "))
    assert found == ({"text": "one"}, {"text": " two"}, {"text": " three"})


def test_decoding_does_not_begin_at_the_start_for_every_token() -> None:
    asked = []
    plain = decoding(*[b"x"] * 50)

    def decode(ids: Sequence[int]) -> str:
        asked.append(len(ids))
        return plain(ids)

    assert len(written_pieces(range(50), decode)) == 50
    assert max(asked) <= 2


def test_a_reply_that_ends_inside_a_character_is_as_long_as_its_tokens() -> None:
    assert written_pieces([0, 1], decoding(b"a", b"\xe2\x82")) == ({"text": "a"}, {"text": ""})
    assert written_pieces([], decoding()) == ()
