"""The order of samples as a pure function of (seed, epoch, index): nothing to save, nothing to drift."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def epoch_order(seed: int, epoch: int, digest: str, samples: int) -> npt.NDArray[np.int64]:
    """A permutation of `range(samples)`, the same on every machine, NumPy version and number of ranks.

    Sorts the raw 64-bit output of Philox-4x64 (Salmon et al., SC 2011), a stream that NumPy guarantees, unlike the
    one behind `Generator.permutation`.
    """
    key = hashlib.sha256(f"{seed}/{epoch}/{digest}".encode()).digest()[:16]
    draws = np.random.Philox(key=np.frombuffer(key, "<u8")).random_raw(samples)
    return np.argsort(draws, kind="stable")


def draws_of_epoch(
    seed: int, epoch: int, digest: str, part_of: npt.NDArray[np.int64], times: tuple[float, ...]
) -> npt.NDArray[np.int64]:
    """The order of an epoch that has each of N samples as often as the part it is of: `times[part_of[sample]]`.

    An entry is `copy * N + sample`. A part of 2.3 is there twice whole, and with 0.3 of its samples besides, others in
    each epoch until all have been there as often.
    """
    chosen = [np.empty(0, np.int64)]
    for part, often in enumerate(times):
        members = np.flatnonzero(part_of == part)
        whole = int(often)
        chosen += [members + copy * len(part_of) for copy in range(whole)]
        if rest := round((often - whole) * len(members)):
            window = (epoch * rest + np.arange(rest)) % len(members)
            lot = epoch_order(seed, 0, f"{digest}/{part}", len(members))[window]
            chosen.append(members[lot] + whole * len(part_of))
    draws = np.concatenate(chosen)
    return draws[epoch_order(seed, epoch, digest, len(draws))]


def rank_share(global_batch: int, rank: int, world: int, pieces: int) -> slice:
    """The contiguous pieces of a global batch that a rank takes; pieces differ by one sample at the most, ranks by one
    piece."""
    own = share_of(pieces, rank, world)
    return slice(share_of(global_batch, own.start, pieces).start, share_of(global_batch, own.stop, pieces).start)


def share_of(count: int, part: int, parts: int) -> range:
    """The numbers below `count` that one of so many contiguous, nearly equal parts holds."""
    return range(count * part // parts, count * (part + 1) // parts)


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
