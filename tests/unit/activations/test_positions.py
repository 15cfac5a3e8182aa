import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.activations.positions import Positions
from overnight.errors import UsageError


@pytest.mark.parametrize(
    ("text", "places"),
    [
        # Ten tokens, four of them the prompt's: 0 1 2 3 | 4 5 6 7 8 9.
        ("response[:5]", [4, 5, 6, 7, 8]),
        ("response[-1]", [9]),
        ("response[0]", [4]),
        ("response[::2]", [4, 6, 8]),
        ("prompt[-1]", [3]),
        ("prompt[1:]", [1, 2, 3]),
        ("all[2:]", [2, 3, 4, 5, 6, 7, 8, 9]),
        ("all[-3:-1]", [7, 8]),
        ("mean", [4, 5, 6, 7, 8, 9]),
        ("last", [9]),
        (" response[ :2 ] ", [4, 5]),
    ],
)
def test_a_frame_and_a_slice_choose_tokens(text: str, places: list[int]) -> None:
    assert list(Positions.parse(text).places(4, 10)) == places


def test_all_of_a_plain_text_is_the_response() -> None:
    assert list(Positions.parse("response[:2]").places(0, 3)) == [0, 1]
    assert list(Positions.parse("mean").places(0, 3)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "n_prompt", "n_tokens"),
    [("prompt[-1]", 0, 3), ("response[3]", 2, 4), ("response[-3]", 2, 4), ("mean", 4, 4), ("last", 0, 0)],
)
def test_a_choice_of_no_token_names_the_sequence(text: str, n_prompt: int, n_tokens: int) -> None:
    # A mean over nothing is no number, and index -3 of two tokens would be one of the prompt's.
    with pytest.raises(UsageError, match=r"line 7: no token at .* choose other positions"):
        Positions.parse(text).places(n_prompt, n_tokens, "line 7")


@pytest.mark.parametrize(
    "text",
    ["", "reply[0]", "response", "response[]", "all[1:2:3:4]", "all[::-1]", "all[::0]", "all[1-2]", "all[a]"],
)
def test_what_is_no_position_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(UsageError, match=r"wanted response\[:5\]"):
        Positions.parse(text)


_BOUND = st.none() | st.integers(-9, 9)


@given(_BOUND, _BOUND, st.integers(0, 6), st.integers(0, 6))
def test_a_slice_means_what_it_means_in_python(
    start: int | None, stop: int | None, n_prompt: int, n_reply: int
) -> None:
    tokens = list(range(n_prompt + n_reply))
    text = f"[{'' if start is None else start}:{'' if stop is None else stop}]"
    frames = {"prompt": tokens[:n_prompt], "response": tokens[n_prompt:], "all": tokens}
    for frame, there in frames.items():
        expected = there[start:stop]
        positions = Positions.parse(f"{frame}{text}")
        if expected:
            assert [tokens[place] for place in positions.places(n_prompt, len(tokens))] == expected
        else:
            with pytest.raises(UsageError):
                positions.places(n_prompt, len(tokens))
