"""One source of chance: every draw is a pure function of the seed and of what it is about.

A draw about a sample depends on (seed, sample id, view, purpose), a draw about a batch on (seed, purpose, counters);
never on workers, ranks, batch order or what was drawn before. The mixing function is the finaliser of SplitMix64
(Steele, Lea and Flood 2014, https://doi.org/10.1145/2714064.2660195).
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(words: Words) -> Words:
    """Scramble 64-bit words, each alone.

    >>> hex(int(mix(np.array([0x9E3779B97F4A7C15], np.uint64))[0]))
    '0xe220a8397b1dcdaf'
    """
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def sample_words(ids: NDArray[np.uint8]) -> Words:
    """The first 64 bits of content digests, uint8 [N, 32] -> uint64 [N]."""
    return np.ascontiguousarray(ids[:, :8]).view("<u8").ravel().astype(np.uint64)


def purpose_word(seed: int, purpose: str) -> int:
    """64 bits that stand for a seed and a purpose."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "little")


def sample_keys(seed: int, purpose: str, ids: NDArray[np.uint8], view: int | NDArray[np.int64]) -> Words:
    """One key a sample for a purpose and a view, one for all or one each, uint64 [N]."""
    base = np.array([purpose_word(seed, purpose)], np.uint64)
    return mix(mix(mix(base) ^ sample_words(ids)) ^ np.asarray(view).astype(np.uint64))


def uniforms(keys: Words, count: int) -> NDArray[np.float64]:
    """Draws from [0, 1), float64 [N, count], row by row a function of the key alone."""
    with np.errstate(over="ignore"):
        counters = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
        words = mix(keys[:, None] + counters[None, :])
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def batch_seed(seed: int, purpose: str, *counters: int) -> int:
    """A seed for draws about a batch, an epoch or a network, below 2**63."""
    return purpose_word(seed, "/".join([purpose, *map(str, counters)])) >> 1


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A numpy generator for draws about a batch or an epoch."""
    return np.random.Generator(np.random.Philox(key=batch_seed(seed, purpose, *counters)))
