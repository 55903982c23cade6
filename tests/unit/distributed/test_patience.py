"""The ranks of a job that was suspended for longer than gloo waits by itself (half an hour) still meet."""

from __future__ import annotations

import os
import subprocess
import sys

from medtrain.launch.rank_processes import free_port

PROGRAM = """\
from medtrain.distributed.process_group import any_rank, init_distributed, shutdown
import torch, torch.distributed as dist
world = init_distributed("fp32")
print(any_rank(world, world.rank == 1), dist.group.WORLD._get_backend(torch.device("cpu")).options._timeout.days)
shutdown(world)
"""


def test_no_time_out_of_the_process_group_ends_a_suspended_job() -> None:
    """It counts by the clock, and has the watchdog find what hangs; waiting for half an hour is no test."""
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert [rank.communicate(timeout=120)[0] for rank in ranks] == ["True 365\n"] * 2
