"""Where a rank is: its number, the address where all meet, its GPU and its cores, before torch is imported."""

from __future__ import annotations

import os
import socket

from medtrain.errors import InputError, MachineError

SUPERVISOR = "MEDTRAIN_SUPERVISOR"  # holds the process id of the one that started this rank on its own machine
# SLURM_MAX_NORMAL_STEP_ID of slurm.h. Above it are what is no step of tasks: the batch script (4294967291, or -5 as
# Slurm 26.05 writes it into that script's environment), the shell of salloc (4294967290, -6).
MOST_STEPS = 0xFFFFFFF0


def take_place() -> None:
    """Tell torch which rank this is where srun started it; a supervisor of this machine has said so already. Whoever
    else says so (torchrun, mpirun, a rank that started the shell) means another training.

    Raises MachineError where Slurm gave this node fewer GPUs than ranks.
    """
    slurm = {"RANK": "SLURM_PROCID", "LOCAL_RANK": "SLURM_LOCALID", "WORLD_SIZE": "SLURM_NTASKS"}
    if not supervised_here():
        for name in (*slurm, "LOCAL_WORLD_SIZE"):
            os.environ.pop(name, None)
    if in_task() and not supervised_here():
        os.environ.update({ours: os.environ[theirs] for ours, theirs in slurm.items()})
        # An address, not the first node's name: names do not resolve everywhere.
        os.environ.setdefault("MASTER_ADDR", os.environ["SLURM_LAUNCH_NODE_IPADDR"])
    # The number of threads decides the order of sums, so it must not drift between attempts. One core is left to the
    # loader and the system: all threads wait for the slowest, and on a core that something else wants that is 10x.
    cores = int(os.environ.get("SLURM_CPUS_PER_TASK", 0)) or cores_here() // ranks_here()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores - 1)))
    refuse_shared_gpu()


def supervised_here() -> bool:
    """Whether the supervisor is this process's parent. Its variables are inherited by all that a rank starts, on other
    nodes too, so that its number alone proves nothing."""
    return os.environ.get(SUPERVISOR) == str(os.getppid())


def refuse_shared_gpu() -> None:
    """NCCL cannot have two ranks on one GPU, and says so late and in its own words."""
    local, gpus = int(os.environ.get("LOCAL_RANK", "0")), gpus_given()
    if gpus and local >= gpus:
        raise MachineError(
            f"{node_name()}: Slurm gave it {gpus} GPU(s), and rank {os.environ['RANK']} is the {local + 1}. rank there",
            "ask for as many GPUs as ranks on every node: --gpus_per_node N (and the same --tasks_per_node, or none)",
        )


def gpus_given() -> int:
    """How many GPUs Slurm gave this job on this node; 0 where it gave none, or there is no Slurm."""
    return int(os.environ.get("SLURM_GPUS_ON_NODE") or 0)


def gpu_index(visible: int) -> int:
    """Which of the `visible` GPUs is this rank's: Slurm shows a task all that the job has there, or its own only.

    It is an index into what Slurm shows (CUDA_VISIBLE_DEVICES): with GPUs 2 and 3 granted, the second rank has 3.
    """
    return int(os.environ.get("LOCAL_RANK", "0")) % visible


def in_slurm_job() -> bool:
    """Whether this is the batch script of a Slurm job or an salloc shell, and not one of a job's tasks."""
    return "SLURM_JOB_ID" in os.environ and not in_task()


def in_task() -> bool:
    """Whether srun started this process as a task of a step."""
    step = os.environ.get("SLURM_STEP_ID", "")
    return step.isdecimal() and int(step) <= MOST_STEPS


def tasks_given() -> int:
    """How many tasks Slurm gave this job: so many ranks has its step."""
    return int(os.environ.get("SLURM_NTASKS") or 1)


def own_job() -> str:
    """The Slurm job that this process is in, of an array as `812_3`: one task of it has the number of the whole, and
    what is done to that number is done to all. Empty where there is none."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}", "") for name in ("JOB_ID", "TASK_ID"))
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")


def in_batch_script() -> bool:
    """Whether Slurm can requeue what this process runs in; an salloc shell it cannot."""
    return in_slurm_job() and os.environ.get("ENVIRONMENT") == "BATCH"


def refuse_step_of_many() -> None:
    """Under the user's own srun every task would train a model of its own; raises InputError."""
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks > 1 and not in_slurm_job() and "SLURM_PTY_PORT" not in os.environ:  # a shell by srun --pty is one process
        raise InputError(
            f"{node_name()}: srun started medtrain {tasks} times, and each of them would train alone",
            "call it once, without srun: it starts the ranks by itself on all nodes of the job",
        )


def node_name() -> str:
    """This node as Slurm calls it, or this host."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def cores_here() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def ranks_here() -> int:
    """Ranks on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE") or 1)
