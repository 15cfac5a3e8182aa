import pytest

from overnight.memory.estimate import MemoryEstimate, MemoryPart, Place
from overnight.memory.fits import fits
from overnight.memory.free import FreeMemory


def needs(host: int, device: int = 0) -> MemoryEstimate:
    parts = (
        MemoryPart(name="a", n_bytes=host),
        MemoryPart(name="b", n_bytes=device, place=Place.DEVICE),
    )
    return MemoryEstimate(engine="e", settings={}, parts=parts)


def has(n_bytes: int | None, place: Place = Place.HOST, name: str = "host") -> FreeMemory:
    return FreeMemory(
        name=name,
        place=place,
        free_bytes=n_bytes,
        total_bytes=n_bytes,
        source="a test",
        absent_because="gone",
    )


@pytest.mark.parametrize(("needed", "verdict"), [(919, True), (920, True), (921, False)])
def test_eight_percent_of_what_is_free_stay_free(needed: int, verdict: bool) -> None:
    assert fits(needs(needed), [has(1000)]).fits is verdict


def test_the_gpu_with_the_most_room_decides() -> None:
    there = [has(10**9), has(50, Place.DEVICE, "GPU 0"), has(500, Place.DEVICE, "GPU 1")]
    assert fits(needs(1, 400), there).fits is True
    fit = fits(needs(1, 501), there)
    assert (fit.fits, fit.needed, fit.free) == (False, 501, 500)
    assert "GPU 1" in fit.why


def test_a_model_for_a_gpu_does_not_fit_where_there_is_none_however_much_the_host_has() -> None:
    # It would run on the host, many times slower, and nobody would know.
    fit = fits(needs(1, 400), [has(10**12)])
    assert fit.fits is False
    assert fit.why == "no GPU is visible to this process"


def test_a_host_that_is_too_small_is_no_fit_though_the_gpu_has_room() -> None:
    fit = fits(needs(1000, 10), [has(500), has(10**9, Place.DEVICE, "GPU 0")])
    assert (fit.fits, fit.needed) == (False, 1000)


def test_what_is_not_known_is_not_a_verdict() -> None:
    assert fits(needs(1, 10), [has(500), has(None, Place.DEVICE, "GPU 0")]).fits is None
    unknown = MemoryEstimate(engine="e", settings={}, parts=(), undefined_because="mamba")
    fit = fits(unknown, [has(500)])
    assert (fit.fits, fit.needed, fit.why) == (None, None, "mamba")
