"""A run on the test cluster, what can be done to it from outside, and what `medtrain status` then says of it."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from cluster_user import User
from limits import HANG_S
from marked_processes import marked_processes

NUMBERS = re.compile(r" +(\d+) +(\d+) +(\d+)%$")
VARYING = [
    (re.compile(r"\d\d-\d\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d \d\d:\d\d"), "T"),
    (re.compile(r"by job \d+"), "by job J"),
    (re.compile(r"while step \d+"), "while step N"),
    (re.compile(r"127\.0\.0\.\d: \d+ MiB"), "127.0.0.N: N MiB"),
    (NUMBERS, lambda found: _rough(*map(int, found.groups()))),
    (re.compile(r"  +"), "  "),
]


MEASURED = re.compile(r"goodput \d+ % of the time of all attempts went into steps that count|steps  data \d+ %, .*")
HELD = "launch failed requeued held"
URGENT = ("--partition=high", "--nodes=2", "--exclusive")


def golden(text: str) -> list[str]:
    """The lines below the first table of `medtrain status RUN`, without what differs from time to time: what became of
    the time of its steps is another each time, and not there where they took too little of it."""
    lines = text.split("\n\n", 1)[1].splitlines()
    for pattern, word in VARYING:
        lines = [pattern.sub(word, line).strip() for line in lines]
    return [line for line in lines if not line.startswith(("attempt ", "-----")) and not MEASURED.fullmatch(line)]


def _rough(steps: int, lost: int, goodput: int) -> str:
    assert lost <= steps
    assert goodput <= (100 if steps > lost else 0)
    if not steps:
        return "  no steps"
    return f"  steps  {'lost' if lost else 'nothing lost'}"


class Life:
    """A run, and what is done to it from outside."""

    def __init__(self, user: User, name: str, *options: str) -> None:
        self.user, self.name, self.cluster = user, name, user.cluster
        self.job = user.submit(name, *options)

    def trains(self, attempt: int, steps: int = 3) -> None:
        """Wait until this attempt, or a later one, has done some steps."""

        def holds(row: dict[str, Any]) -> bool:
            if row["waiting"] and row["waiting"]["reason"] == HELD:
                self._release()
            now = row["history"][-1] if row["attempts"] >= attempt else {}
            return now.get("kind") == "running" and now["steps"] >= steps

        self.user.until(self.name, f"attempt {attempt} trains", holds)

    def _release(self) -> None:
        """What an administrator does where Slurm 22.05 sent a job to a node on which its last life still ended: the
        node says "Duplicate jobid" and is drained, and the job is held. On a busy machine an end takes longer."""
        for node in self.cluster.nodes:
            self.cluster.node_up(node)
        self.scontrol("release", self.job)

    def waits(self) -> None:
        """Wait until the job is back in the queue."""
        self.user.until(self.name, "back in the queue", lambda row: row["state"] == "waiting")

    def set(self, *changes: str) -> None:
        """Change the waiting job; newer versions of Slurm (26.05) refuse that while the nodes of its last life end."""
        deadline, words = time.monotonic() + HANG_S, ("scontrol", "update", f"JobId={self.job}", *changes)
        while "temporarily unavailable" in (done := self.cluster.run(*words)).stderr:
            assert time.monotonic() < deadline, done.stderr
        assert done.returncode == 0, done.stderr

    def scontrol(self, *words: str) -> None:
        """scontrol, which must succeed."""
        done = self.cluster.run("scontrol", *words)
        assert done.returncode == 0, done.stderr

    def urgent(self) -> None:
        """A job that needs all nodes comes, is done, and the run waits again."""
        self.cluster.wait(self.cluster.sbatch(*URGENT, "--wrap", "true"), "COMPLETED")

    def kill(self, rank: int, number: int) -> None:
        """Send a signal to the process of a rank."""
        mark = f"SLURM_PROCID={rank}".encode()
        worker = {b"medtrain.launch.rank_main", str(self.user.run(self.name)).encode()}
        for pid in marked_processes(self.cluster.conf):
            process = Path(f"/proc/{pid}")
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"srun"):  # in the batch script, which is rank 0 of no step
                continue
            if mark in (process / "environ").read_bytes().split(b"\0") and worker <= set(words):
                os.kill(pid, number)
                return
        raise AssertionError(f"rank {rank} is not there")

    def waits_for(self, reason: str, why: str, fix: str = "none needed") -> None:
        """Wait until Slurm gives this reason, and see what `status` makes of it."""

        def holds(row: dict[str, Any]) -> bool:
            return row["waiting"] is not None and row["waiting"]["reason"].startswith(reason)

        self.user.until(self.name, f"waits for {reason}", holds)
        deadline = time.monotonic() + HANG_S  # the scheduler plans a start a moment after it gives the reason
        while self.told() != [f"waits  {why}", f"fix  {fix}"]:
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.5)

    def told(self) -> list[str]:
        """What `medtrain status RUN` says of its attempts, and why it waits."""
        return golden(self.user.medtrain("status", self.name))
