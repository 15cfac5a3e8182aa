"""Random numbers of a draw: its own, whatever is drawn beside it."""

import numpy as np

from overnight.ids import digest

_KEY_DIGITS = 32  # hex, of the 128 bits that Philox is keyed with


class DrawStream:
    """The random numbers in [0, 1) of one draw of a vector, one a token.

    They depend on the seed, the vector's key and the draw's number alone: Philox, a counter-based generator (Salmon et
    al. 2011, Parallel random numbers: as easy as 1, 2, 3), keyed by the digest of the three. Temperatures and lenses
    have them in common, so that what differs between these is not luck.

    Args:
        seed: of the experiment.
        key: of the vector.
        draw: its number among the vector's, from 0.
        n_tokens: of a text, at most.
    """

    def __init__(self, seed: int, key: str, draw: int, n_tokens: int) -> None:
        philox_key = int(digest([seed, key, draw])[:_KEY_DIGITS], 16)
        numbers: list[float] = np.random.Generator(np.random.Philox(key=philox_key)).random(n_tokens).tolist()
        self._numbers = iter(numbers)

    def next(self) -> float:
        """Return the next one."""
        return next(self._numbers)
