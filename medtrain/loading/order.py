"""The order of samples as a pure function of (seed, epoch, index): nothing to save, nothing to drift."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from medtrain.core.even_split import share_of


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
    """The contiguous pieces of a global batch that a rank takes; pieces differ by at most one sample, ranks by one
    piece."""
    own = share_of(pieces, rank, world)
    return slice(share_of(global_batch, own.start, pieces).start, share_of(global_batch, own.stop, pieces).start)
