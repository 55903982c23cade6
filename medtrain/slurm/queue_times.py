"""How long jobs waited, and when Slurm means to start those that wait."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from medtrain.slurm.queries import ask, ask_controller

DAYS = 30  # of accounting; older waits say little of today's queue


@dataclass(frozen=True)
class Wait:
    """A job that has started: its partition, its number of nodes, and the seconds that it waited from when it could
    have started (after what it depended on) until it did."""

    job: str
    partition: str
    nodes: int
    seconds: float


@dataclass(frozen=True)
class Queue:
    """What waits in a partition: the number of jobs, and when Slurm plans to start those that it has planned."""

    jobs: int
    planned: tuple[float, ...]


def accounted_waits() -> list[Wait]:
    """The waits of this user's jobs that began in the last DAYS days, as sacct has them; none without accounting."""
    since = time.strftime("%Y-%m-%d", time.localtime(time.time() - DAYS * 86_400))
    text, _ = ask(
        "sacct", "--allocations", "--parsable2", "--noheader", f"--uid={os.getuid()}", f"--starttime={since}",
        "--format=JobID,Partition,AllocNodes,Eligible,Start",
    )  # fmt: skip
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 4]
    return [
        Wait(job, partition, int(nodes), max(float(start) - float(eligible), 0.0))
        for job, partition, nodes, eligible, start in rows
        if nodes.isdigit() and eligible.isdigit() and start.isdigit()
    ]


def queue(partition: str) -> Queue:
    """The jobs that wait in a partition, as `squeue --start` has them."""
    text, _ = ask_controller("squeue", "--start", "--noheader", f"--partition={partition}", "--format=%i|%S")
    starts = [line.partition("|")[2].strip() for line in text.splitlines()]
    return Queue(len(starts), tuple(sorted(float(start) for start in starts if start.isdigit())))


def default_partition() -> str:
    """The partition of a job that names none; empty where Slurm has none, or does not say."""
    names = ask_controller("sinfo", "--noheader", "--format=%P")[0].split()
    return next((name.removesuffix("*") for name in names if name.endswith("*")), "")
