"""Which GPUs a rank's helper records: those of all ranks of its node, or its own where Slurm shows it no other."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

from medtrain.distributed.rank_environment import SUPERVISOR
from medtrain.slurm.environment import node_name
from medtrain.training.node_gpus import recorded_gpus

TASK = {"SLURM_STEP_ID": "0", "SLURM_NTASKS_PER_NODE": "4"}
HERE = {SUPERVISOR: str(os.getppid()), "LOCAL_WORLD_SIZE": "2"}
NAMES = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_LOCALID", SUPERVISOR, *TASK)


@pytest.mark.parametrize(
    ("place", "visible", "which"),
    [
        ({}, 8, ("", ["0"])),  # one rank of a machine with eight
        ({**TASK, "SLURM_LOCALID": "0", "LOCAL_RANK": "0"}, 4, ("", ["0", "1", "2", "3"])),
        ({**TASK, "SLURM_LOCALID": "3", "LOCAL_RANK": "3"}, 4, None),  # the first rank of the node does it
        ({**TASK, "SLURM_LOCALID": "0", "LOCAL_RANK": "0"}, 1, ("", ["0"])),  # Slurm shows each task its own GPU
        ({**TASK, "SLURM_LOCALID": "3", "LOCAL_RANK": "0"}, 1, (".3", ["0"])),
        ({**HERE, "LOCAL_RANK": "0"}, 4, ("", ["0", "1"])),
        ({**HERE, "LOCAL_RANK": "1", "SLURM_STEP_ID": "0", "SLURM_LOCALID": "0"}, 4, None),  # in a shell of srun
    ],
)
def test_each_gpu_of_a_run_is_recorded_once(
    monkeypatch: pytest.MonkeyPatch, place: dict[str, str], visible: int, which: tuple[str, list[str]] | None
) -> None:
    """Of torch.cuda only the count and the names of GPUs are replaced: there are none here."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=index))
    expected = ("", []) if which is None else (node_name() + which[0], which[1])
    assert recorded_gpus(torch.device("cuda")) == expected
