import collections
import contextlib
import os
import pickle
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.errors import UsageError
from overnight.importing.plain_pickle import read_plain
from overnight.importing.rebuilt import NotPlainError, NumberArray, Skipped


@pytest.fixture
def read(tmp_path):
    def read(data: bytes):
        path = tmp_path / "file.pkl"
        path.write_bytes(data)
        return read_plain(path)

    return read


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@given(plain, st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(max_examples=40)
def test_plain_values_come_back_in_every_protocol(tmp_path_factory, value, protocol: int) -> None:
    if protocol < 3 and b"" in _leaves(value):
        return  # empty bytes are a call of `bytes` there
    path = tmp_path_factory.getbasetemp() / "plain.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    assert read_plain(path) == value


def _leaves(value) -> list:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in _leaves(one)]
    return [leaf for one in value for leaf in _leaves(one)] if isinstance(value, list | tuple) else [value]


def test_a_set_and_an_ordered_dict_are_plain(read) -> None:
    assert read(pickle.dumps({1, "a"})) == {1, "a"}
    assert read(pickle.dumps(frozenset({1}))) == {1}
    assert read(pickle.dumps(collections.OrderedDict(a=1, b=2))) == {"a": 1, "b": 2}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["f8", "f4", "f2", "i8", "i4", "u1", "b1", ">f8", ">i4"])
def test_numpy_numbers_are_read_from_their_bytes(read, protocol: int, kind: str) -> None:
    values = np.array([0, 1, 1], dtype=kind)
    found = read(pickle.dumps({"array": values, "scalar": values[1]}, protocol=protocol))
    assert found["scalar"] == 1
    assert isinstance(found["array"], NumberArray)
    assert found["array"].shape == (3,)
    assert found["array"].numbers() == values.tolist()


@pytest.mark.parametrize("values", [np.array(["a"], dtype=object), np.array(["text"])])
def test_numpy_arrays_of_anything_else_are_refused_at_the_latest_when_they_are_read(read, values) -> None:
    with pytest.raises((UsageError, NotPlainError), match="numpy"):
        read(pickle.dumps(values)).numbers()


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


MALICIOUS = {
    "os.system": pickle.dumps(Calls(os.system, "touch {marker}")),
    "eval": pickle.dumps(Calls(eval, "open('{marker}', 'w')")),
    "nested": pickle.dumps({"a": [{"b": (1, Calls(os.system, "touch {marker}"))}]}),
    "protocol 0": pickle.dumps(Calls(os.system, "touch {marker}"), protocol=0),
    "INST": b"(S'touch {marker}'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch {marker}'\no.",
    "NEWOBJ": b"\x80\x02cbuiltins\nobject\n)\x81.",
    "NEWOBJ of a name that is known": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93)}\x92.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x05touch\x85R.",
    "STACK_GLOBAL with a path": b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93\x8c\x01a\x85R.",
    "a persistent id": b"\x80\x04\x8c\x01aQ.",
    "an extension": b"\x80\x04\x82\x01.",
    "attributes of a stand-in": b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93}\x8c\x01a\x8c\x01bsb.",
    "a call of what is no function": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)R.",
    "a call of data": b"\x80\x04]\x8c\x01a\x85R.",
    "a file of torch": b"\x80\x02ctorch.load\nload\n)R.",
    "a deep key": b"\x80\x04}" + b")" + b"\x85" * 50_000 + b"K\x01s.",
    "a buffer": b"\x80\x05\x97.",
    "getattr": pickle.dumps(Calls(getattr, "a", "upper")),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_whatever_is_not_data_is_refused_and_nothing_is_run(read, tmp_path, monkeypatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        read(MALICIOUS[name])
    said = str(refused.value)
    assert "\n" not in said
    assert "nothing was run" in said or "no pickle that can be read" in said
    assert not Path("{marker}").exists()


def test_a_refusal_names_what_was_asked_for_and_what_to_do(read) -> None:
    # On every system `os.system` is pickled by the name of the module that implements it.
    with pytest.raises(
        UsageError, match=rf"refused at byte \d+: it asks for {os.name}\.system; nothing was run"
    ):
        read(MALICIOUS["os.system"])
    with pytest.raises(UsageError, match=r"builtins\.eval.*\.tolist\(\)"):
        read(MALICIOUS["eval"])
    with pytest.raises(UsageError, match=r"the instruction BINPERSID"):
        read(MALICIOUS["a persistent id"])


def test_a_name_with_a_newline_in_it_stays_on_one_line(read) -> None:
    with pytest.raises(UsageError) as refused:
        read(b"\x80\x04\x8c\x05o\ns\x1b[\x8c\x06system\x93)R.")
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


HUGE = {
    "a text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60),
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40),
    "a bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40),
    "a frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40),
    "a number": b"\x80\x04\x8b" + struct.pack("<i", 1 << 30),
    "a place in the memo": b"\x80\x04Kr" + struct.pack("<I", (1 << 32) - 1) + b"K\x01.",
    "the shape of an array": pickle.dumps(np.zeros(1), protocol=2).replace(
        b"K\x01\x85", b"J\xff\xff\xff\x7f\x85"
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_file_that_announces_more_than_it_has_takes_no_memory(read, name: str) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with contextlib.suppress(UsageError, NotPlainError):
        found = read(HUGE[name])
        assert isinstance(found, NumberArray) == (name == "the shape of an array")
        if isinstance(found, NumberArray):
            found.numbers()
            pytest.fail("an array has more numbers than bytes")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"\x80\x04", b"not a pickle", b"\x80\x04]", b"\x80\xff.", b"PK\x03\x04" + b"\0" * 40],
)
def test_what_is_no_pickle_or_is_cut_off_says_so(read, data: bytes) -> None:
    with pytest.raises(UsageError, match=r"file\.pkl: (no pickle that can be read|refused)"):
        read(data)


@given(st.binary(max_size=40))
@settings(max_examples=100)
def test_no_bytes_at_all_make_anything_but_a_value_or_one_line(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pkl"
    path.write_bytes(b"\x80\x04" + data)
    try:
        read_plain(path)
    except UsageError as refused:
        assert "\n" not in str(refused)  # noqa: PT017


def test_a_folder_and_a_file_that_is_not_there_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.pkl"):
        with pytest.raises(UsageError, match=path.name):
            read_plain(path)


# What torch writes for a tensor on the processor, put together by hand: a call of `_rebuild_tensor_v2` whose first
# argument is a call of `_load_from_bytes`.
TENSOR = (
    b"\x8c\x0ctorch._utils\x8c\x12_rebuild_tensor_v2\x93"
    b"(\x8c\rtorch.storage\x8c\x10_load_from_bytes\x93C\x03abc\x85RK\x00K\x02\x85K\x01\x85\x89"
    b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93)RtR"
)


def test_a_tensor_is_passed_over_and_torch_is_not_asked(read, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it would fail
    found = read(b"\x80\x04}\x8c\x01a" + TENSOR + b"s.")
    assert isinstance(found["a"], Skipped)


@pytest.mark.slow
def test_a_tensor_that_torch_wrote_is_passed_over(read) -> None:
    import torch

    for kind in (torch.float32, torch.bfloat16):
        found = read(pickle.dumps({"embedding": torch.ones(4, dtype=kind), "n": 1}))
        assert isinstance(found["embedding"], Skipped)
        assert found["n"] == 1
