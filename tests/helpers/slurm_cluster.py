"""A real Slurm cluster for tests: its own munge, controller and nodes, all in one temporary folder.

Its processes are found and ended by marks in their environment (marked_processes).
"""

from __future__ import annotations

import atexit
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from limits import HANG_S
from marked_processes import kill_marked, marked_processes

# Daemons live in sbin, which the PATH of an ordinary user often lacks.
PATH = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin"
MEMORY_PER_CPU = 4000  # MB, claimed like the CPUs
Job = dict[str, str]
Seen = TypeVar("Seen")

# cred_expire is also the delay before a requeued job may start (120 s by default). config_overrides lets a
# small machine claim more than it has. Without DefMemPerCPU each job takes all the memory of its nodes.
SETTINGS = """\
ClusterName=test SlurmctldHost=localhost(127.0.0.1) SlurmctldPort={port} SlurmUser={user} SlurmdUser={user}
AuthType=auth/munge CredType=cred/munge AuthInfo=socket={folder}/munge.sock,cred_expire=5
SlurmctldLogFile={folder}/slurmctld.log SlurmctldPidFile={folder}/slurmctld.pid
SlurmdLogFile={folder}/%n.log SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n StateSaveLocation={folder}/state
SlurmdParameters=config_overrides ProctrackType=proctrack/linuxproc TaskPlugin=task/none MpiDefault=none
SelectType=select/cons_tres SelectTypeParameters=CR_Core_Memory DefMemPerCPU={memory}
JobAcctGatherType=jobacct_gather/linux JobAcctGatherFrequency=task=1 JobAcctGatherParams=OverMemoryKill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=100000,bf_interval=1
SlurmdTimeout=10 KillWait=5 CompleteWait=0 ReturnToService=2 JobRequeue=1 MinJobAge=600
PreemptType=preempt/partition_prio {preemption}{options}
"""
NODES = """\
NodeName={nodes} NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first}-{last}] {resources}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode={mode} GraceTime=20
PartitionName=nograce Nodes=ALL PriorityTier=1 PreemptMode={mode} GraceTime=0
PartitionName=short Nodes=ALL PriorityTier=1 PreemptMode={mode} GraceTime=20 MaxTime=1
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""
# How the jobs of the three lower partitions are preempted -> the cluster's settings for it. Who suspends jobs must also
# wake them, which the gang scheduler does; and it looks at them once a time slice.
PREEMPTION = {
    "REQUEUE": "PreemptMode=REQUEUE",
    "CANCEL": "PreemptMode=CANCEL",
    "SUSPEND": "PreemptMode=SUSPEND,GANG SchedulerTimeSlice=5",
}


def claim_ports(count: int, block: int = 64) -> tuple[socket.socket, int]:
    """Claims `count` consecutive ports for as long as the returned lock stays open, and says the first.

    A free port can be taken between our look and the daemon's bind. So clusters exclude each other by an
    abstract socket, which dies with its holder, and keep below the ports that the kernel hands out itself.
    """
    for first in random.Random().sample(range(10_000, 32_000, block), k=300):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0medtrain-test-cluster-{first}")
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("", port))
            return lock, first
        except OSError:
            lock.close()
    raise RuntimeError("found no block of free ports for a Slurm cluster")


class Cluster:
    """A Slurm cluster with nodes 127.0.0.1, 127.0.0.2, ...; up inside its `with` block, gone after it."""

    def __init__(
        self,
        nodes: int = 2,
        cpus: int = 4,
        gpus_per_node: int = 0,
        preempt_send_user_signal: bool = False,
        preemption: str = "REQUEUE",
    ) -> None:
        self.nodes = [f"127.0.0.{number}" for number in range(1, nodes + 1)]
        self.user = pwd.getpwuid(os.getuid()).pw_name  # who submits jobs, runs daemons and administers
        self.cpus, self.gpus_per_node = cpus, gpus_per_node
        self.preempt_send_user_signal, self.preemption = preempt_send_user_signal, preemption
        self._port_lock, self._port = claim_ports(1 + nodes)
        # A unix socket's path holds 107 bytes, and slurmstepd puts its own deep in the folder.
        short = "/tmp" if len(tempfile.gettempdir()) > 40 else None
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir=short))
        self.conf = self.folder / "slurm.conf"
        self.jobs_folder = self.folder / "jobs"  # where jobs are submitted and leave their slurm-*.out
        # Where the tests run inside somebody's Slurm job, that job's settings must not leak in.
        outer = {key: value for key, value in os.environ.items() if not re.match("SLURM|SBATCH|SRUN", key)}
        self.env = {**outer, "SLURM_CONF": str(self.conf), "PATH": PATH}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Cluster:
        atexit.register(self.down)
        try:
            self._up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.down()

    def _up(self) -> None:
        # atexit does not run in a killed process; the guard cleans up when our end of its pipe closes.
        guard = [sys.executable, __file__, str(self.folder)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)
        self._write_settings()
        options = [f"--{kind}-file={self.folder}/munge.{kind}" for kind in ("key", "pid", "seed")]
        options += ["--foreground", "--force", f"--socket={self.folder}/munge.sock"]
        self._start("munged", "munged", *options)
        self._poll((self.folder / "munge.sock").exists, "munged to open its socket")
        self._start_controller()
        for node in self.nodes:
            self._start_node(node)
        self.reset()

    def down(self) -> None:
        """Ends every process of the cluster and deletes its folder; a second call does nothing."""
        atexit.unregister(self.down)
        kill_marked(self.conf)
        for daemon in self._daemons.values():
            daemon.wait()
        self._daemons.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._port_lock.close()
        if self._guard:
            self._guard.kill()
            self._guard.communicate()

    def reset(self) -> None:
        """Cancels all jobs and brings all nodes back, so that the next test finds a cluster as new."""
        self._demand("scancel", "--user", self.user)
        for node in self.nodes:
            self.node_up(node)
        self._poll(lambda: set(self.node_states().values()) == {"idle"}, "all nodes to be idle")

    def run(self, *cmd: str, stdin: str = "", timeout: float = HANG_S) -> subprocess.CompletedProcess[str]:
        """Runs a command as a user of this cluster would; the caller judges its exit status."""
        return subprocess.run(
            cmd, check=False, env=self.env, cwd=self.jobs_folder, timeout=timeout, input=stdin,
            text=True, capture_output=True,
        )  # fmt: skip

    def sbatch(self, *args: str, script: str = "") -> str:
        """Submits a job by sbatch's arguments, or by the text of a script, and returns its id."""
        return self._demand("sbatch", "--parsable", *args, stdin=script).strip().split(";")[0]

    def job(self, job_id: str) -> Job:
        """Reads `scontrol show job` into its fields (JobState, Reason, Restarts, ...); empty if unknown."""
        shown = self.run("scontrol", "show", "job", job_id).stdout.partition("\n\n")[0]
        fields = re.split(r"\s+(?=[A-Z][\w/:]*=)", shown.strip())
        return {key: value for key, equals, value in (field.partition("=") for field in fields) if equals}

    def wait(self, job_id: str, states: str | Collection[str], timeout: float = HANG_S, restarts: int = 0) -> Job:
        """Waits until a job is in a state, or one of some, and was requeued at least `restarts` times."""
        wanted = {states} if isinstance(states, str) else set(states)

        def arrived() -> Job:
            job = self.job(job_id)
            return job if job.get("JobState") in wanted and int(job["Restarts"]) >= restarts else {}

        what = f"job {job_id} to be {' or '.join(wanted)} after {restarts} restarts"
        return self._poll(arrived, what, timeout, pause=0.1)

    def wait_for_an_empty_queue(self) -> None:
        """Waits until no job waits, runs or ends: none is left behind."""
        self._poll(lambda: not self.run("squeue", "--noheader").stdout, "an empty queue", pause=0.1)

    def version(self) -> tuple[int, int]:
        """Of its Slurm: `22.05.8` is (22, 5)."""
        found = re.search(r"SLURM_VERSION\s+= (\d+)\.(\d+)", self.run("scontrol", "show", "config").stdout)
        assert found
        return int(found[1]), int(found[2])

    def node_states(self) -> dict[str, str]:
        """Says each node's state as the controller sees it: idle, mixed, allocated, completing, down, ..."""
        shown = self.run("sinfo", "--noheader", "--Node", "--format=%N %T").stdout
        return dict(line.split() for line in shown.splitlines())

    def node_down(self, name: str) -> None:
        """Takes a node out of service as an administrator does; its jobs are requeued."""
        # Drained first: with ReturnToService=2 a node that is only down comes back with its next ping.
        for state in ("drain", "down"):
            self._demand("scontrol", "update", f"nodename={name}", f"state={state}", "reason=test")

    def node_up(self, name: str) -> None:
        """Brings a node back, whether it was taken down or lost power, and waits until it is in service."""
        if self._daemons[name].poll() is not None:
            self.node_down(name)  # or a controller that has not noticed yet believes that its jobs run on
            self._start_node(name)

        def in_service() -> bool:
            state = self.node_states().get(name, "")
            # A job that comes back while its own old tasks still end is held for ever ("Duplicate jobid").
            alone = marked_processes(self.conf, name) == [self._daemons[name].pid]
            if alone and state.startswith(("down", "drain")):
                self.run("scontrol", "update", f"nodename={name}", "state=resume")
            return state in {"idle", "mixed", "allocated", "completing"}

        self._poll(in_service, f"node {name} to be in service", pause=0.1)

    def kill_node(self, name: str) -> None:
        """Cuts a node's power: slurmd, its stepds and all their tasks die at once, and nobody is told."""
        kill_marked(self.conf, name)
        self._daemons[name].wait()

    def restart_controller(self, kill: bool = False) -> None:
        """Ends slurmctld, orderly or by SIGKILL, and starts it again; jobs run on meanwhile."""
        self._daemons["slurmctld"].send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        self._daemons["slurmctld"].wait()
        self._start_controller()

    def _demand(self, *cmd: str, stdin: str = "") -> str:
        done = self.run(*cmd, stdin=stdin)
        if done.returncode:
            raise RuntimeError(f"{' '.join(cmd)}: {done.stderr.strip()}")
        return done.stdout

    def _write_settings(self) -> None:
        for name in ["jobs", "state", *self.nodes]:
            (self.folder / name).mkdir()
        (self.folder / "munge.key").touch(mode=0o600)  # munged refuses a key that others may read
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        options, resources = "", f"CPUs={self.cpus} RealMemory={self.cpus * MEMORY_PER_CPU}"
        if self.preempt_send_user_signal:
            options += "\nSlurmctldParameters=preempt_send_user_signal"
        if self.gpus_per_node:
            options += "\nGresTypes=gpu"
            resources += f" Gres=gpu:fake:{self.gpus_per_node}"
            for number in range(self.gpus_per_node):  # with plain files CUDA_VISIBLE_DEVICES stays unset
                (self.folder / f"gpu{number}").symlink_to("/dev/null")
            files = f"{self.folder}/gpu[0-{self.gpus_per_node - 1}]"
            (self.folder / "gres.conf").write_text(f"Name=gpu Type=fake Flags=nvidia_gpu_env File={files}\n")
        last_port = self._port + len(self.nodes)
        text = (SETTINGS.replace(" ", "\n") + NODES).format(  # Slurm takes one setting a line
            folder=self.folder, user=self.user, port=self._port, first=self._port + 1, last=last_port,
            memory=MEMORY_PER_CPU, options=options, nodes=",".join(self.nodes), resources=resources,
            mode=self.preemption, preemption="\n".join(PREEMPTION[self.preemption].split()),
        )  # fmt: skip
        self.conf.write_text(text)

    def _start(self, name: str, *cmd: str) -> None:
        env = {**self.env, "SLURMD_NODENAME": name}  # slurmd hands it on to its stepds
        with (self.folder / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                cmd, env=env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,  # Ctrl-C is for pytest, which then brings the cluster down in order
            )  # fmt: skip

    def _start_controller(self) -> None:
        self._start("slurmctld", "slurmctld", "-D", "-f", str(self.conf))
        self._poll(lambda: " UP" in self.run("scontrol", "ping").stdout, "slurmctld to answer")

    def _start_node(self, name: str) -> None:
        self._start(name, "slurmd", "-D", "-c", "-f", str(self.conf), "-N", name)

    def _poll(self, look: Callable[[], Seen], what: str, timeout: float = HANG_S, pause: float = 0.02) -> Seen:
        deadline = time.monotonic() + timeout
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout:g} s for {what}\n{self._report()}")
            time.sleep(pause)
        return seen

    def _report(self) -> str:
        """Says what one wants to know when a wait was in vain: the queue, the nodes, the ends of the logs."""
        parts = [self.run("squeue", "--long").stdout, self.run("sinfo", "--Node", "--long").stdout]
        # Without readable settings a daemon never opens its log.
        for log in sorted(self.folder.glob("*.log")) or sorted(self.folder.glob("*.out")):
            parts += [f"--- end of {log.name}", *log.read_text(errors="replace").splitlines()[-25:]]
        return "\n".join(parts)


if __name__ == "__main__":  # the guard: waits until whoever started the cluster is gone, however it ended
    sys.stdin.buffer.read()
    kill_marked(Path(sys.argv[1]) / "slurm.conf")
    shutil.rmtree(sys.argv[1], ignore_errors=True)
