"""The ranks of one attempt: processes of this machine, or a step of a Slurm job."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from medtrain.core.errors import EXIT_RESUMABLE
from medtrain.core.running_time import CLOCK
from medtrain.distributed.rank_environment import SUPERVISOR
from medtrain.slurm.environment import own_job, tasks_given
from medtrain.slurm.job_environment import LAUNCHER, NOTIFY_URL, without
from medtrain.slurm.queries import ask, ask_controller, parse

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST_PORT = 20_000  # below it more services have numbers of their own
LOOK_S = 0.02  # a start waits for the end before it; not for a pidfd: Linux 4.18, of Enterprise Linux 8, has none


class LocalRanks:
    """The ranks as processes of this machine."""

    first = ""  # the rank that failed first
    nodes = ""

    def __init__(self, count: int, command: list[str]) -> None:
        self.count = count
        self._command = command
        self._processes: list[subprocess.Popen[bytes]] = []
        self._wanted = 0

    def start_and_wait(self, told: Mapping[str, str]) -> int:
        """Start every rank, with what it is `told` in its environment; when one fails, end the others. Returns the
        first failure's exit code, or 0."""
        place = {
            "WORLD_SIZE": str(self.count),
            "LOCAL_WORLD_SIZE": str(self.count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            SUPERVISOR: str(os.getpid()),
        }
        inherited = without(os.environ, *LAUNCHER, NOTIFY_URL)
        self._processes = [
            # A session of their own: a terminal's Ctrl-C reaches the supervisor alone, which passes it on once.
            subprocess.Popen(
                self._command,
                env={**inherited, **told, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                start_new_session=True,
            )
            for rank in range(self.count)
        ]
        if self._wanted:  # it came while they were being started
            self.signal(self._wanted)
        failure, deadline = 0, 0.0
        while True:
            ended = [process.poll() for process in self._processes]  # of every one: what is not asked is not known
            codes = {rank: code for rank, code in enumerate(ended) if code}
            if codes and not failure:
                first, failure = min(codes.items(), key=lambda item: item[1])  # a killed one (< 0) before its peers
                self.first, deadline = str(first), CLOCK.now() + _patience_s(failure)
            if None not in ended:
                return failure
            if failure and CLOCK.now() > deadline:
                self._send(signal.SIGKILL)  # they wait in a collective for a rank that is gone
            time.sleep(LOOK_S)

    def signal(self, number: int) -> None:
        """Send a signal to every rank that lives, and to those that are being started."""
        self._wanted = number
        self._send(number)

    def _send(self, number: int) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


def _patience_s(failure: int) -> float:
    """How long the other ranks may take to end by themselves: to save where the first was asked to, and to say what
    they saw where it failed. Of one that was killed they know nothing, and at a checkpoint or in a collective they
    would wait for it."""
    if failure == EXIT_RESUMABLE:
        return 60
    return 5 if failure > 0 else 0.25


class Srun:
    """The ranks as one step of this Slurm job. What srun itself says goes to their log: it names what failed first."""

    first = ""
    _over = True
    _pid = 0  # of the last srun
    _nodes: tuple[str, ...] = ()  # those that it is to start on, where not on all
    cores = 0  # of a rank, where those of a task of the job are those of several

    def __init__(
        self, log: Path, command: list[str], options: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.count = tasks_given()
        self._log, self._environment = log, dict(environment or {})
        self._command = [
            "srun", "--kill-on-bad-exit=1", "--wait=60", "--unbuffered", "--label", "--open-mode=append",
            f"--output={log}", *options, *command,
        ]  # fmt: skip

    def place(self, nodes: list[str], each: int) -> None:
        """Start on these nodes of the job alone, so many ranks on each."""
        self._nodes, self.count = tuple(nodes), len(nodes) * each

    @property
    def nodes(self) -> str:
        """Where the ranks start, as Slurm writes it; empty where that is all nodes of the job."""
        return ask("scontrol", "show", "hostlist", ",".join(self._nodes))[0].strip() if self._nodes else ""

    def start_and_wait(self, told: Mapping[str, str]) -> int:
        """Start the step, with what its ranks are `told` in their environment, and wait for its end."""
        environment = {**for_srun(), **self._environment, **told, "MASTER_PORT": str(free_port())}
        if "SLURMD_NODENAME" not in os.environ:  # an salloc shell on a login node: the first rank is elsewhere
            environment["MASTER_ADDR"] = first_node_address()
        command = self._command
        if self.cores:
            environment["SRUN_CPUS_PER_TASK"] = str(self.cores)
            environment.pop("SLURM_CPUS_PER_TASK", None)
        if self._nodes:
            some = [f"--nodes={len(self._nodes)}", f"--ntasks={self.count}", f"--nodelist={','.join(self._nodes)}"]
            command = [command[0], *some, *command[1:]]
            if self._nodes[0] != os.environ.get("SLURMD_NODENAME"):
                environment["MASTER_ADDR"] = first_node_address(self._nodes[0])
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, env=environment, stderr=log, start_new_session=True)
        self._pid, self._over = process.pid, False
        code = process.wait()
        self._over = True
        return code

    def left(self) -> str:
        """The last step where Slurm still has it: srun was killed, or its tasks' end was not heard of yet. A new step
        would get none of the cores that it has."""
        steps, _ = ask_controller("scontrol", "--oneliner", "show", "step", own_job())
        found = map(parse, steps.splitlines())
        ours = (step for step in found if step.get("SrunHost:Pid", "").endswith(f":{self._pid}"))
        return next(ours, {}).get("StepId", "") if self._pid else ""

    def signal(self, number: int) -> None:
        """Send a signal to every task of the job's steps."""
        if self._over:  # scancel would go on trying for half a minute, and this process has less to live
            return
        name = signal.Signals(number).name.removeprefix("SIG")
        subprocess.run(["scancel", f"--signal={name}", own_job()], check=False)


def for_srun() -> dict[str, str]:
    """This batch script's environment as srun needs it to start ranks."""
    environment = without(os.environ, *LAUNCHER, NOTIFY_URL)  # a rank learns its place from srun
    # sbatch passes its own cores-a-task to srun only through this variable since Slurm 22.05.
    if "SLURM_CPUS_PER_TASK" in environment:
        environment["SRUN_CPUS_PER_TASK"] = environment["SLURM_CPUS_PER_TASK"]
    environment.pop("SLURM_EXPORT_ENV", None)  # sbatch --export=NONE: the ranks need what they are told there
    # It would show a task all GPUs of the node, and the ranks would compute on another job's.
    if environment.get("SLURM_GPU_BIND", "").split(",")[-1] == "none":
        del environment["SLURM_GPU_BIND"]
    return environment


def first_node_address(name: str = "") -> str:
    """The address of a node, or of the first one of this allocation."""
    names = subprocess.run(["scontrol", "show", "hostnames"], capture_output=True, text=True, check=True).stdout
    shown = subprocess.run(
        ["scontrol", "--oneliner", "show", "node", name or names.split()[0]], capture_output=True, text=True, check=True
    ).stdout
    return next(word.removeprefix("NodeAddr=") for word in shown.split() if word.startswith("NodeAddr="))


def free_port() -> int:
    """A port that nothing listens on; rank 0 runs on this host, and listens there some seconds later.

    Below those that the kernel gives to connections by itself, where one could be taken in between.
    """
    try:
        first = int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32_768  # Linux's default
    below = range(LOWEST_PORT, max(LOWEST_PORT, first))
    for port in random.SystemRandom().sample(below, min(len(below), 50)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
