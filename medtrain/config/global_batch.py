"""Samples of one optimizer step, and the micro-batches that they are cut into."""

from __future__ import annotations

from medtrain.config.schema import DataConfig


def global_batch(data: DataConfig, ranks: int) -> int:
    """Samples in one optimizer step of so many ranks, where the settings do not name it."""
    return data.global_batch or data.batch_size * data.grad_accumulation * ranks


def virtual_ranks(data: DataConfig, samples: int) -> int:
    """Micro-batches of that step, which exact mode shares out as evenly as the number of ranks allows."""
    return -(-samples // max(data.batch_size, 1))
