"""Random choices that depend on a seed and a name alone, on any machine and in any order."""

from __future__ import annotations

import hashlib
import random


def seeded(seed: int, *names: str) -> random.Random:
    """A generator of random numbers for these names; the same for the same seed and names."""
    text = "\0".join((str(seed), *names)).encode()
    return random.Random(hashlib.blake2b(text, digest_size=16).digest())
