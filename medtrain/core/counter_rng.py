"""Random numbers that are a function of their keys, so that nothing has to be stored to continue them."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def uniform(
    seed: int, epoch: int, samples: npt.NDArray[np.int64], draws: int, purpose: str = ""
) -> npt.NDArray[np.float64]:
    """[len(samples), draws] numbers in [0, 1), each a function of (seed, epoch, purpose, sample, draw) alone.

    The finaliser of SplitMix64 (Steele et al., OOPSLA 2014) over a counter: one vectorised pass where a generator
    object a sample would cost more than decoding the image.
    """
    key = f"{seed}/{epoch}/{purpose}" if purpose else f"{seed}/{epoch}"
    start = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    with np.errstate(over="ignore"):
        first = samples.astype(np.uint64) * np.uint64(draws)
        counter: npt.NDArray[np.uint64] = np.add.outer(first, np.arange(draws, dtype=np.uint64))
        state = np.uint64(start) + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
