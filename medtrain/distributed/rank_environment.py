"""Which rank this is: its number, the address where all meet, its GPU and its cores, before torch is imported."""

from __future__ import annotations

import os

from medtrain.core.counts import counted
from medtrain.core.errors import MachineError
from medtrain.slurm.environment import in_task, node_name

SUPERVISOR = "MEDTRAIN_SUPERVISOR"  # holds the process id of the one that started this rank on its own machine


def set_rank_environment() -> None:
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
    # NumPy's and SciPy's own, which nothing here computes with: a thread a core, that costs time and memory to start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    ensure_gpu_not_shared()


def supervised_here() -> bool:
    """Whether the supervisor is this process's parent. Its variables are inherited by all that a rank starts, on other
    nodes too, so that its number alone proves nothing."""
    return os.environ.get(SUPERVISOR) == str(os.getppid())


def ensure_gpu_not_shared() -> None:
    """NCCL cannot have two ranks on one GPU, and says so late and in its own words."""
    local, gpus = int(os.environ.get("LOCAL_RANK", "0")), gpus_given()
    if gpus and local >= gpus:
        raise MachineError(
            f"{node_name()}: Slurm gave it {counted(gpus, 'GPUs')}, and rank {os.environ['RANK']} is the {local + 1}."
            " rank there",
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


def local_rank() -> int:
    """Its number among the ranks of this node, also where LOCAL_RANK has become that of its GPU (see gpu_index)."""
    task = in_task() and not supervised_here()
    return int(os.environ.get("SLURM_LOCALID" if task else "LOCAL_RANK") or 0)


def cores_here() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def ranks_here() -> int:
    """Ranks on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE") or 1)
