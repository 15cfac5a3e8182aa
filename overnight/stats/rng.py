"""One independent stream of random numbers per named use."""

import hashlib
import json

import numpy as np


def stream(seed: int, *labels: str) -> np.random.Generator:
    """Return the generator that belongs to this seed and these labels, the same in every process.

    Each use of chance names itself (metric, type, temperature, purpose), so that adding one moves no number
    of another. The state is the SHA-256 of the seed and the labels, written as JSON so that ("ab", "c") is
    not ("a", "bc").

    Source:
        O'Neill (2014), PCG64 in numpy; named here because ``default_rng`` may change.
    """
    name = json.dumps([seed, *labels], ensure_ascii=True).encode()
    entropy = int.from_bytes(hashlib.sha256(name).digest(), "big")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
