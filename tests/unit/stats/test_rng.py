import subprocess
import sys

import pytest

from overnight.stats.rng import stream


def test_the_first_draws_of_a_stream_are_frozen() -> None:
    # Do not update: a change here moves every interval and p-value ever reported.
    assert stream(1337, "bootstrap", "em", "open", "0.0").integers(1000, size=5).tolist() == [
        500,
        641,
        819,
        325,
        248,
    ]


def test_another_process_draws_the_same() -> None:
    code = "from overnight.stats.rng import stream; print(stream(1, 'f1', 'closed').integers(10**9))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == stream(1, "f1", "closed").integers(10**9)


@pytest.mark.parametrize(
    ("seed", "labels"),
    [(2, ("em", "open")), (1, ("em",)), (1, ("emopen",)), (1, ("emo", "pen")), (1, ("open", "em")), (1, ())],
)
def test_every_label_and_the_seed_name_the_stream(seed: int, labels: tuple[str, ...]) -> None:
    assert stream(seed, *labels).integers(2**62) != stream(1, "em", "open").integers(2**62)
