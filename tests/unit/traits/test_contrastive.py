"""Sets of contrasting texts: what is read is what stands on the lines, and what is doubtful is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from overnight.errors import UsageError
from overnight.traits.contrastive import ContrastiveSet, contrastive_set, read_contrastive_set


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes, bytes], Path]:
    def make(positive: bytes, negative: bytes) -> Path:
        folder = tmp_path / "calm"
        folder.mkdir(exist_ok=True)
        (folder / "positive.txt").write_bytes(positive)
        (folder / "negative.txt").write_bytes(negative)
        return folder

    return make


@pytest.mark.parametrize(
    ("name", "n_pairs"),
    # Counted with `wc -l`; every line has a text.
    [
        ("certainty", 19),
        ("deception", 77),
        ("doubt", 15),
        ("hedging", 20),
        ("refusal", 100),
        ("sycophancy", 15),
    ],
)
def test_the_public_sets_are_read_whole(shared_data: Path, name: str, n_pairs: int) -> None:
    found = read_contrastive_set(shared_data / "traits" / name)
    assert (found.name, len(found.positive), len(found.negative), found.is_paired) == (
        name,
        n_pairs,
        n_pairs,
        True,
    )
    assert found.definition is not None
    raw = (
        (shared_data / "traits" / name / "positive.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    )
    assert list(found.positive) == raw


def test_line_ends_and_a_byte_order_mark_are_no_part_of_a_text(write) -> None:
    plain = read_contrastive_set(write(b"a\nb\n", b"c\nd\n"))
    other = read_contrastive_set(write(b"\xef\xbb\xbfa\r\nb", b"c\r\nd\r\n\r\n"))
    assert plain == other
    assert plain.positive == ("a", "b")
    assert plain.definition is None


def test_only_line_feeds_end_a_line(write) -> None:
    # str.splitlines would cut here, and every pair after it would be another one.
    found = read_contrastive_set(write("a\u2028b\nc\x0cd\n".encode(), b"e\nf\n"))
    assert found.positive == ("a\u2028b", "c\x0cd")


def test_a_line_that_is_blank_in_both_files_separates_pairs(write) -> None:
    found = read_contrastive_set(write(b"a\n\nb\n", b"c\n  \nd\n\n\n"))
    assert (found.positive, found.negative, found.is_paired) == (("a", "b"), ("c", "d"), True)


def test_a_line_that_is_blank_in_one_file_is_refused(write) -> None:
    # Leaving it out would pair every line after it with a stranger.
    with pytest.raises(UsageError, match=r"negative\.txt:2: a blank line where positive\.txt:2"):
        read_contrastive_set(write(b"a\nb\nc\n", b"d\n\ne\n"))


def test_unequal_files_are_unpaired_only_where_that_is_allowed(write) -> None:
    folder = write(b"a\nb\nc\n", b"d\n\ne\n\nf\ng\n")
    with pytest.raises(UsageError, match=r"positive\.txt ends on line 3 and negative\.txt on line 6"):
        read_contrastive_set(folder)
    found = read_contrastive_set(folder, may_be_unpaired=True)
    assert (found.positive, found.negative, found.is_paired) == (("a", "b", "c"), ("d", "e", "f", "g"), False)


def test_equal_files_are_paired_even_where_they_need_not_be(write) -> None:
    assert read_contrastive_set(write(b"a\nb\n", b"c\nd\n"), may_be_unpaired=True).is_paired


@pytest.mark.parametrize(
    ("positive", "negative", "said"),
    [
        (b"", b"a\nb\n", r"positive\.txt: found 0 texts"),
        (b"a\nb\n", b"\n \n\n", r"negative\.txt: found 0 texts"),
        (b"a\n", b"b\n", r"positive\.txt: found 1 texts, wanted at least 2"),
        (b"a\nb\na\n", b"c\nd\ne\n", r"positive\.txt:3: the text of .*positive\.txt:1 again"),
        (b"a\nb  c\n", b"b c\nd\n", r"negative\.txt:1: the text of .*positive\.txt:2 stands on both sides"),
        (b"a\nb\n", b"c\n\xff\n", r"negative\.txt: byte 2 is not UTF-8"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(write, positive: bytes, negative: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        read_contrastive_set(write(positive, negative))
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_contrastive_set(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"positive\.txt: no such file"):
        read_contrastive_set(tmp_path)


def test_the_digest_is_of_what_a_direction_depends_on() -> None:
    def make(name: str = "t", positive: tuple[str, ...] = ("a", "b"), **other) -> ContrastiveSet:
        return contrastive_set(name, positive, ("c", "d"), **({"is_paired": True} | other))

    assert make().digest == make(name="other", definition="what it is").digest
    others = [make(positive=("b", "a")), make(positive=("a", "B")), make(is_paired=False)]
    assert len({made.digest for made in [make(), *others]}) == 4
