"""Faults for a run on the test cluster, each done to it from outside, as the world would.

A fault returns once it is done; `ANNOUNCED` are those that leave time to save, after which no step may be lost.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cluster_user import User
from limits import HANG_S
from marked_processes import marked_processes

URGENT = "#!/bin/bash\nsleep {seconds}\n"


@dataclass
class Target:
    """The run that is stormed, its job, and the draws."""

    user: User
    name: str
    job: str
    draw: random.Random
    told: list[str] = field(default_factory=list)

    @property
    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted((self.user.run(self.name) / "checkpoints").glob("step-*"))

    def durable(self) -> int:
        """The step of the newest checkpoint."""
        return int(self.checkpoints[-1].name.split("-")[1]) if self.checkpoints else 0

    def processes(self, module: str) -> list[int]:
        """Those of the job that run a module of the package, on all nodes; srun only says what they are to run."""
        found = []
        for pid in marked_processes(self.user.cluster.conf):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if module.encode() in words and not words[0].endswith(b"srun"):
                    found.append(pid)
        return sorted(found)

    def signal_one(self, module: str, number: int) -> None:
        """Send a signal to one process of the job, drawn by chance."""
        pid = self.draw.choice(self.processes(module))
        self.told.append(f"{signal.Signals(number).name} to {module} {pid}")
        os.kill(pid, number)


def kill_a_rank(target: Target) -> None:
    target.signal_one("medtrain.launch.rank_main", signal.SIGKILL)


def term_a_rank(target: Target) -> None:
    target.signal_one("medtrain.launch.rank_main", signal.SIGTERM)


def usr1_a_rank(target: Target) -> None:
    target.signal_one("medtrain.launch.rank_main", signal.SIGUSR1)


def usr2_a_rank(target: Target) -> None:
    target.signal_one("medtrain.launch.rank_main", signal.SIGUSR2)


def stop_a_rank(target: Target) -> None:
    """It hangs; the watchdogs of the others have to notice."""
    target.signal_one("medtrain.launch.rank_main", signal.SIGSTOP)


def kill_the_loaders_of_a_rank(target: Target) -> None:
    """All of them: the one for validation has nothing to do on most ranks, and nobody would miss it."""
    rank = target.draw.choice(target.processes("medtrain.launch.rank_main"))
    target.told.append(f"loaders of {rank}")
    for loader in target.processes("medtrain.loading.worker"):
        with contextlib.suppress(OSError):
            if int(Path(f"/proc/{loader}/stat").read_text().rsplit(")", 1)[1].split()[1]) == rank:
                os.kill(loader, signal.SIGKILL)


def kill_in_the_middle_of_a_save(target: Target) -> None:
    _while_it_saves(target)
    kill_a_rank(target)


def corrupt_the_newest_checkpoint(target: Target) -> None:
    """One bit of one file, and the ranks are killed before they can write a newer one."""
    ranks = target.processes("medtrain.launch.rank_main")
    for rank in ranks:
        os.kill(rank, signal.SIGSTOP)
    newest = target.checkpoints[-1]
    victim = target.draw.choice(sorted(newest.iterdir()))
    data = bytearray(victim.read_bytes())
    data[target.draw.randrange(len(data))] ^= 1 << target.draw.randrange(8)
    victim.write_bytes(data)
    target.told.append(f"a bit of {newest.name}/{victim.name}")
    for rank in ranks:
        os.kill(rank, signal.SIGKILL)


def requeue(target: Target) -> None:
    target.user.cluster.run("scontrol", "requeue", target.job)


def preempt(target: Target) -> None:
    target.user.cluster.wait(urgent_job(target, 1), "COMPLETED")


def urgent_job(target: Target, seconds: float, nodes: int = 2) -> str:
    """A job of a higher partition that wants nodes for so long; returns its id. It needs little memory: what is
    suspended keeps its own."""
    script = URGENT.format(seconds=seconds)
    return target.user.cluster.sbatch("--partition=high", f"--nodes={nodes}", "--exclusive", "--mem=100", script=script)


def preempt_without_grace(target: Target) -> None:
    cluster = target.user.cluster
    cluster.run("scontrol", "update", "PartitionName=low", "GraceTime=0")
    preempt(target)
    cluster.run("scontrol", "update", "PartitionName=low", "GraceTime=20")


def suspend_beyond_the_hang_timeout(target: Target) -> None:
    """The two nodes are needed, or one of them: Slurm suspends the whole job either way."""
    _suspend(target, 12, nodes=target.draw.choice([1, 2]))


def suspend_twice_in_a_row(target: Target) -> None:
    """Each time for less than a process notices."""
    _suspend(target, 2)
    _suspend(target, 2)


def suspend_in_the_middle_of_a_save(target: Target) -> None:
    """Slurm takes a moment for it, and a save of a small network is over by then: its ranks are stopped at once."""
    _while_it_saves(target)
    for rank in target.processes("medtrain.launch.rank_main"):
        os.kill(rank, signal.SIGSTOP)
    target.told.append(f"{len(_saves(target))} saves under way")
    _suspend(target, 2)


def _suspend(target: Target, seconds: float, nodes: int = 2) -> None:
    """By a job of a higher partition: after `scontrol suspend` and `resume` the gang scheduler of 22.05 takes a job
    that runs for one that is suspended already."""
    urgent = urgent_job(target, seconds, nodes)
    _until_stopped(target, True)
    target.user.cluster.wait(urgent, "COMPLETED")
    _until_stopped(target, False)


def _saves(target: Target) -> list[Path]:
    return [path for path in (target.user.run(target.name) / "checkpoints").glob(".tmp-*") if path.is_dir()]


def _while_it_saves(target: Target) -> None:
    deadline = time.monotonic() + HANG_S
    while not _saves(target) and time.monotonic() < deadline:
        time.sleep(0.0005)


def _until_stopped(target: Target, wanted: bool) -> None:
    """Until all processes on all nodes are stopped, or run: the controller says so before it is so."""
    deadline = time.monotonic() + HANG_S
    modules = ("medtrain.launch.supervisor", "medtrain.launch.rank_main", "medtrain.loading.worker")
    while {_is_stopped(pid) for module in modules for pid in target.processes(module)} != {wanted}:
        assert time.monotonic() < deadline, f"not all processes of job {target.job} are stopped: {wanted}"
        time.sleep(0.05)


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:  # it has ended
        return False


def preempt_what_hears_nothing(target: Target) -> None:
    """Its supervisor is stopped, so that nobody in the job can requeue it, or say why it ends."""
    for supervisor in target.processes("medtrain.launch.supervisor"):
        os.kill(supervisor, signal.SIGSTOP)
    preempt_without_grace(target)


def node_down(target: Target) -> None:
    node = target.draw.choice(target.user.cluster.nodes)
    target.told.append(f"node {node}")
    target.user.cluster.node_down(node)
    target.user.cluster.node_up(node)


def power_loss(target: Target) -> None:
    node = target.draw.choice(target.user.cluster.nodes)
    target.told.append(f"node {node}")
    target.user.cluster.kill_node(node)
    target.user.cluster.node_up(node)


def restart_the_controller(target: Target) -> None:
    """The job runs on."""
    target.user.cluster.restart_controller(kill=True)


def time_limit(target: Target) -> None:
    """Slurm looks at limits every half minute."""
    cluster = target.user.cluster
    minutes = int(re.split("[:-]", cluster.job(target.job)["RunTime"])[-2]) + 1
    cluster.run("scontrol", "update", f"JobId={target.job}", f"TimeLimit={minutes}")
    cluster.wait(target.job, {"PENDING", "COMPLETING"})
    cluster.run("scontrol", "update", f"JobId={target.job}", "TimeLimit=60")


Fault = Callable[[Target], None]
QUICK: list[Fault] = [
    kill_a_rank, term_a_rank, usr1_a_rank, usr2_a_rank, stop_a_rank, kill_the_loaders_of_a_rank,
    kill_in_the_middle_of_a_save, corrupt_the_newest_checkpoint, requeue, preempt, preempt_without_grace, node_down,
    power_loss, restart_the_controller,
]  # fmt: skip
SLOW: list[Fault] = [time_limit]
# The mode of preemption -> what a cluster of that mode does to a run.
PREEMPTIONS: dict[str, list[Fault]] = {
    "SUSPEND": [suspend_beyond_the_hang_timeout, suspend_twice_in_a_row, suspend_in_the_middle_of_a_save],
    "CANCEL": [preempt, preempt_without_grace, preempt_what_hears_nothing],
}
ANNOUNCED = {term_a_rank, usr1_a_rank, usr2_a_rank, requeue, preempt, node_down, time_limit}
HARMLESS = {restart_the_controller}
