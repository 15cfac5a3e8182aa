"""Numbers are kept as torch would keep them."""

import numpy as np
import pytest
import torch

from overnight.vectors.floats import Kept, is_finite, narrow, widen

# Every bfloat16 there is but infinities and what is no number: widening them is exact and narrowing gives them back.
BITS = np.arange(1 << 16, dtype=np.uint16)
FINITE = BITS[(BITS & 0x7F80) != 0x7F80]


def test_every_bfloat16_is_widened_as_torch_does_it() -> None:
    expected = torch.from_numpy(FINITE.view(np.int16)).view(torch.bfloat16).to(torch.float32).numpy()
    found = widen(FINITE, Kept.BFLOAT16)
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))
    assert np.array_equal(narrow(found, Kept.BFLOAT16), FINITE)


@pytest.mark.parametrize("kept", list(Kept))
def test_numbers_are_rounded_as_torch_rounds_them(kept: Kept) -> None:
    rng = np.random.default_rng(0)
    ties = widen(FINITE[::97], Kept.BFLOAT16).view(np.uint32) | 0x8000  # half way between two bfloat16
    values = np.concatenate([rng.standard_normal(5000).astype(np.float32) * 100, ties.view(np.float32)])
    values = values[np.abs(values) < 60_000]
    expected = torch.from_numpy(values).to(getattr(torch, kept.value))
    found = narrow(values, kept)
    assert found.dtype == kept.dtype
    assert np.array_equal(widen(found, kept), expected.to(torch.float32).numpy())


def test_what_does_not_fit_is_refused() -> None:
    for value in (np.inf, np.nan):
        for kept in Kept:
            with pytest.raises(ValueError, match="not finite"):
                narrow(np.array([value], dtype=np.float32), kept)
    with pytest.raises(ValueError, match="more than float16 holds"):
        narrow(np.array([70_000], dtype=np.float32), Kept.FLOAT16)
    with pytest.raises(ValueError, match="more than bfloat16 holds"):
        narrow(np.array([np.finfo(np.float32).max]), Kept.BFLOAT16)
    assert not is_finite(np.array([0x7F80], dtype=np.uint16), Kept.BFLOAT16)
