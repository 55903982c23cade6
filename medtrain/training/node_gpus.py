"""Which GPUs this rank's helper records: all of its node's ranks, or its own where Slurm shows it no other."""

from __future__ import annotations

import torch

from medtrain.distributed.rank_environment import gpu_index, local_rank, ranks_here
from medtrain.slurm.environment import node_name


def recorded_gpus(device: torch.device) -> tuple[str, list[str]]:
    """The name of the record, and the UUIDs of the GPUs in it: none on CPUs, and where another rank records them."""
    if device.type != "cuda":
        return "", []
    visible, local = torch.cuda.device_count(), local_rank()
    if visible == 1 and local > 0:
        return f"{node_name()}.{local}", [_uuid(0)]
    if local > 0:
        return "", []
    first = gpu_index(visible)
    indices = dict.fromkeys((first + rank) % visible for rank in range(min(ranks_here(), visible)))
    return node_name(), [_uuid(index) for index in indices]


def _uuid(index: int) -> str:
    return str(torch.cuda.get_device_properties(index).uuid)
