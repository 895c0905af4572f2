"""Every random choice is drawn from (seed, what it is for), never from a shared generator's state."""

import hashlib

import numpy as np


def derive_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a generator that depends on the seed and the purpose alone, such as ("head", fold, epoch)."""
    words = tuple(word if isinstance(word, str) else int(word) for word in purpose)
    digest = hashlib.sha256(repr(words).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a whole number from 0 to 2**31 - 1 that depends on the seed and the purpose alone."""
    return int(derive_generator(seed, *purpose).integers(2**31))
