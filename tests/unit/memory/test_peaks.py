from dataclasses import replace
from pathlib import Path

import pytest

from overnight.memory.estimate import MemoryEstimate, MemoryPart, Place
from overnight.memory.peaks import SAVED, Peak, corrected, note_peak, read_peaks
from overnight.memory.processes import MeasuredPeak

DIGEST = "a" * 64
HERE = {"cpu": "x", "cores": 2, "gpus": None}


def needs(host: int, device: int = 0, saved: int = 0) -> MemoryEstimate:
    parts = [MemoryPart(name="weights", n_bytes=host)]
    if device:
        parts.append(MemoryPart(name="weights", n_bytes=device, place=Place.DEVICE))
    if saved:
        parts.append(MemoryPart(name=SAVED, n_bytes=saved))
    return MemoryEstimate(engine="llama_cpp", settings={"slots": 1}, parts=tuple(parts))


def held(host: int | None, device: int | None = None) -> MeasuredPeak:
    return MeasuredPeak(host_bytes=host, host_anonymous_bytes=host, device_bytes=device, n_samples=3)


def note(estimate: MemoryEstimate, peak: MeasuredPeak, **changes) -> Path | None:
    return note_peak(estimate, peak, **({"model": "m", "model_digest": DIGEST, "machine": HERE} | changes))


def measured(*pairs: tuple[int, int]) -> list[Peak]:
    return [
        Peak(at="now", settings={}, measured={Place.HOST: peak}, estimated={Place.HOST: estimated})
        for estimated, peak in pairs
    ]


def test_a_peak_is_found_again_by_model_engine_and_machine_only() -> None:
    note(needs(1000, 500), held(1100, 600))
    (found,) = read_peaks(DIGEST, "llama_cpp", HERE)
    assert found.measured == {Place.HOST: 1100, Place.DEVICE: 600}
    assert found.estimated == {Place.HOST: 1000, Place.DEVICE: 500}
    assert read_peaks(DIGEST, "transformers", HERE) == []
    assert read_peaks(DIGEST, "llama_cpp", HERE | {"cores": 4}) == []
    assert read_peaks("b" * 64, "llama_cpp", HERE) == read_peaks(None, "llama_cpp", HERE) == []


def test_an_estimate_is_scaled_by_what_was_measured_of_the_same_settings() -> None:
    better = corrected(needs(1000), measured((1000, 1100)))
    assert better.total == 1100
    assert better.is_measured
    assert better.interval == (1045, 1155)  # one measurement: 5 % each way


def test_several_measurements_give_their_median_and_their_range() -> None:
    better = corrected(needs(1000), measured((1000, 900), (1000, 1000), (500, 600)))
    assert better.total == 1000
    assert better.interval == (900, 1200)


def test_what_was_measured_of_a_much_smaller_setting_is_not_looked_at() -> None:
    plain = needs(1000)
    assert corrected(plain, measured((249, 500))) is plain
    assert corrected(plain, []) is plain


def test_weights_held_in_another_way_say_nothing() -> None:
    # transformers holds the same file, by the same digest, in 32 bits or in 8.
    (peak,) = measured((1000, 2000))
    plain = replace(needs(1000), settings={"dtype": "bfloat16", "bits": "int8"})
    assert corrected(plain, [replace(peak, settings={"dtype": "float32", "bits": None})]) is plain
    assert corrected(plain, [replace(peak, settings=dict(plain.settings))]).total == 2000


def test_the_nearest_five_decide() -> None:
    far = [(2000, 4000)] * 9
    near = [(1000, 1000)] * 5
    assert corrected(needs(1000), measured(*far, *near)).interval == (1000, 1000)


def test_a_short_run_does_not_make_a_long_one_look_small() -> None:
    # Few prompts were asked, so few were saved; the next run saves as many as it may.
    note(needs(1000, saved=10), held(1110))
    better = corrected(needs(1000, saved=500), read_peaks(DIGEST, "llama_cpp", HERE))
    assert better.total == 1100 + 500


def test_host_and_device_are_corrected_each_by_its_own() -> None:
    note(needs(1000, 1000), held(1200, 900))
    better = corrected(needs(1000, 1000), read_peaks(DIGEST, "llama_cpp", HERE))
    assert (better.on(Place.HOST), better.on(Place.DEVICE)) == (1200, 900)


def test_what_cannot_be_estimated_or_was_not_seen_is_not_kept() -> None:
    unknown = MemoryEstimate(engine="e", settings={}, parts=(), undefined_because="mamba")
    assert note(unknown, held(5)) is None
    assert note(needs(5), held(None)) is None
    assert corrected(unknown, measured((1, 2))) is unknown


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema_version": 1}', '{"schema_version": 9}'])
def test_a_damaged_file_is_passed_over(content: str) -> None:
    path = note(needs(1000), held(1100))
    assert path is not None
    (path.parent / "0.json").write_text(content)
    assert len(read_peaks(DIGEST, "llama_cpp", HERE)) == 1


def test_a_hundred_peaks_of_a_model_are_kept() -> None:
    path = note(needs(1000), held(1100))
    assert path is not None
    for n in range(120):
        (path.parent / f"0{n:03}.json").write_text("{}")
    note(needs(1000), held(1200))
    assert len(list(path.parent.glob("*.json"))) == 100
