import pytest

from overnight.errors import UndefinedMetricError
from overnight.stats.price_of_gain import usd_per_point


def test_a_gain_has_its_price() -> None:
    # .03 USD more for 6 percentage points.
    assert usd_per_point(0.03, 0.06) == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("usd", "gain", "reason"),
    [
        (0.03, -0.06, "a loss of 6.00"),
        (0.03, 0.0, "no gain"),
        (-0.01, 0.06, "saving"),
        (0.0, 0.06, "nothing"),
    ],
)
def test_what_is_no_bought_gain_has_no_price(usd: float, gain: float, reason: str) -> None:
    with pytest.raises(UndefinedMetricError, match=reason):
        usd_per_point(usd, gain)
