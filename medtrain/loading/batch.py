"""One rank's samples of one optimizer step, or of one forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True)
class Batch:
    """One rank's samples of one optimizer step (training) or of one forward pass (evaluation).

    `inputs` uint8 [B, C, H, W], of clips [B, C, T, H, W]; `labels` int8 [B, L] of 1, 0, labels.SOFT or negative
    (unknown), or float32 [B, 1] of scores; `samples` int64 [B], positions in the index; `global_known` int64 [L], known
    cells over the global batch on all ranks, which a loss divides by; `draws` int64 [B] tells those of one sample
    apart: in an evaluation the windows of a clip.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    samples: npt.NDArray[np.int64]
    global_known: npt.NDArray[np.int64]
    draws: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.samples)

    def split(self, size: int) -> Iterator[Batch]:
        """Views of at most `size` samples each: the micro-batches of gradient accumulation."""
        for start in range(0, len(self), size):
            yield self.part(slice(start, start + size))

    def part(self, which: slice) -> Batch:
        """A view of some of the samples."""
        return Batch(self.inputs[which], self.labels[which], self.samples[which], self.global_known, self.draws[which])
