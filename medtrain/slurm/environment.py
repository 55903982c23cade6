"""What Slurm tells a process in its environment: in which job, step and task it is."""

from __future__ import annotations

import os
import socket

from medtrain.core.errors import InputError

# SLURM_MAX_NORMAL_STEP_ID of slurm.h. Above it are what is no step of tasks: the batch script (4294967291, or -5 as
# Slurm 26.05 writes it into that script's environment), the shell of salloc (4294967290, -6).
MOST_STEPS = 0xFFFFFFF0


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


def nodes_given() -> int:
    """How many nodes Slurm gave this job."""
    return int(os.environ.get("SLURM_JOB_NUM_NODES") or os.environ.get("SLURM_NNODES") or 1)


def own_job() -> str:
    """The Slurm job that this process is in, of an array as `812_3`: one task of it has the number of the whole, and
    what is done to that number is done to all. Empty where there is none."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}", "") for name in ("JOB_ID", "TASK_ID"))
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")


def in_batch_script() -> bool:
    """Whether Slurm can requeue what this process runs in; an salloc shell it cannot."""
    return in_slurm_job() and os.environ.get("ENVIRONMENT") == "BATCH"


def ensure_not_one_of_many() -> None:
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
