"""Which variables of a shell are another job's: a job that is sent from it does not inherit them, and no process
believes them.

sbatch passes on the whole environment (man sbatch, --export=ALL), and Slurm sets anew only what the new job has: sent
from a task of an array, a job that is no array keeps SLURM_ARRAY_JOB_ID of the one that sent it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from medtrain.core.console import warn
from medtrain.slurm.queries import ENDED, Fields, records

Environment = MutableMapping[str, str]
# What tells a command of Slurm where the cluster is (without it nothing can be submitted: submitit #1814), and the
# user's own defaults of sbatch, SBATCH_*, which no pattern below names.
KEPT = ("SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS")
LAUNCHER = {  # pattern -> who sets it. A rank's place; medtrain's own supervisor says it anew to each rank.
    r"RANK|WORLD_SIZE|(LOCAL|GROUP|ROLE)_(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|TORCHELASTIC_\w+":
        "torchrun (torch.distributed.elastic, agent/server/local_elastic_agent.py), and medtrain.launch.rank_processes",
    r"PMI\w*|HYDI?_\w+|MPI_LOCAL\w+": "srun --mpi (PMI-1, PMI-2, PMIx) and mpiexec of MPICH and Intel MPI",
    r"OMPI_(COMM_WORLD|UNIVERSE)_\w+|PRTE_\w+|MV2_COMM_WORLD_\w+":
        "mpirun of Open MPI and MVAPICH2; accelerate/state.py takes ranks from it",
    r"ACCELERATE_\w+|FORK_LAUNCHED": "accelerate launch (accelerate/utils/launch.py)",
    r"MEDTRAIN_SUPERVISOR": "medtrain.launch.rank_processes",
    r"MEDTRAIN_FENCE": "medtrain.launch.supervisor",
}  # fmt: skip
NOTIFY_URL = "MEDTRAIN_NOTIFY_URL"  # a secret of who submits, for the supervisor and its successors: ranks do without
OF_SLURM = r"_?SLURM\w*"
SLURM = {
    OF_SLURM: "sbatch, salloc, srun and slurmd (OUTPUT ENVIRONMENT VARIABLES of man sbatch, salloc and srun); "
        "_SLURM_SPANK_OPTION_*: spank plugins (src/common/spank.c)",
    r"SRUN_\w+": "srun (SRUN_DEBUG) and medtrain.launch.rank_processes, for the steps of one job (man srun, INPUT ...)",
    r"ENVIRONMENT": "sbatch: BATCH (src/sbatch/sbatch.c)",
}  # fmt: skip
# Outside of any job these are the user's own; in one they are the job's: Slurm, a prolog or a launcher set them.
OF_A_JOB = {
    r"(OMP|MKL|OPENBLAS|NUMEXPR)_NUM_THREADS|OMP_(PLACES|PROC_BIND)":
        "torchrun, medtrain, task prologs; the number of threads decides the order of sums, and so the bits",
    r"TMPDIR|TEMP|TMP": "slurmd (TmpFS) and prologs: a folder that goes with its job",
    r"(CUDA|ROCR|HIP)_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|ZE_AFFINITY_MASK": "Slurm's GRES plugin (gres.conf)",
    r"SBATCH_(CPU|MEM)_BIND\w*": "sbatch (man sbatch, OUTPUT ENVIRONMENT VARIABLES)",
}  # fmt: skip
IN_A_JOB = ("SLURM_JOB_ID", "SLURM_JOBID", "RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK")
OF_A_STEP = r"SLURM_STEP\w*|SLURM_SRUN_\w+|SLURM_CPU_BIND\w*|SLURM_PTY_\w+|SLURM_DISTRIBUTION|SRUN_\w+"
# Variables that sbatch and salloc set only where the job asks for it, and srun obeys: the field of `scontrol show job`
# (or two fields, of which one is there) that a job has to which they belong.
ASKED = {
    "SLURM_MEM_PER_CPU": "MinMemoryCPU",
    "SLURM_MEM_PER_NODE": "MinMemoryNode",
    "SLURM_MEM_PER_GPU": "MemPerTres",
    "SLURM_CPUS_PER_GPU": "CpusPerTres",
    "SLURM_TRES_PER_TASK": "TresPerTask",
    "SLURM_GPUS": "TresPerJob",
    "SLURM_GPUS_PER_NODE": "TresPerNode",
    "SLURM_GPUS_PER_SOCKET": "TresPerSocket",
    "SLURM_GPUS_PER_TASK": "TresPerTask",
}
NUMBERS = {"SLURM_NTASKS": "NumTasks", "SLURM_NPROCS": "NumTasks", "SLURM_CPUS_PER_TASK": "CPUs/Task"}


def for_sbatch(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment that a job is submitted with: as on a login node, wherever it is."""
    inside = any(name in environment for name in IN_A_JOB)
    patterns = [*LAUNCHER, *SLURM, *(OF_A_JOB if inside else ())]
    return without(environment, *patterns)


def without(environment: Mapping[str, str], *patterns: str) -> dict[str, str]:
    """A copy that lacks what the patterns name."""
    return {name: value for name, value in environment.items() if not _named(name, *patterns)}


@contextlib.contextmanager
def as_on_a_login_node() -> Iterator[None]:
    """Whatever is started meanwhile gets the environment `for_sbatch`."""
    before = dict(os.environ)
    try:
        _become(for_sbatch(before))
        yield
    finally:
        _become(before)


def leave() -> None:
    """Be as on a login node from now on: what this process does next is to submit."""
    _become(for_sbatch(os.environ))


def forget_launcher() -> None:
    """A command that starts ranks is none, whatever the shell says that it is typed in."""
    _drop(os.environ, *LAUNCHER)


def reconcile_environment() -> None:
    """Leave in this process's environment only what its own job set, as its cgroup and Slurm say; to be called where
    ranks are started, before anything asks which job this is. A controller that is silent changes nothing."""
    forget_launcher()
    job, step = os.environ.get("SLURM_JOB_ID", ""), own_step()
    if not job:
        _drop(os.environ, OF_SLURM)
        return
    if step[0] == job and step[1].isdigit():  # a task: srun has just set everything
        return
    if step[0]:
        _drop(os.environ, OF_A_STEP)
    fields, problem = record(job)
    if fields.get("JobState") in ENDED or "Invalid job id" in problem:
        warn(f"this shell has the variables of Slurm job {job}, which is over: they are not used")
        _drop(os.environ, *SLURM)
    elif fields:
        reconcile(os.environ, fields)


def record(job: str) -> tuple[Fields, str]:
    """What the controller says of this very job (the number of one task is that of its array too), or why nothing."""
    rows, problem = records(job)
    return next((row for row in rows if row.get("JobId") == job), {}), problem


def reconcile(environment: Environment, fields: Fields) -> None:
    """Correct the variables that Slurm does not set in every job, by the fields of the job that the process is in."""
    if fields.get("AllocNode:Sid", "").endswith(f":{os.getsid(0)}"):  # the shell of salloc itself
        _drop(environment, OF_A_STEP)
    if "ArrayTaskId" not in fields:
        _drop(environment, r"SLURM_ARRAY_\w+")
    else:
        environment["SLURM_ARRAY_JOB_ID"] = fields["ArrayJobId"]
        environment["SLURM_ARRAY_TASK_ID"] = fields["ArrayTaskId"]
    if fields.get("Restarts", "0") == "0":
        environment.pop("SLURM_RESTART_COUNT", None)
    else:
        environment["SLURM_RESTART_COUNT"] = fields["Restarts"]
    if fields.get("BatchFlag") == "0":
        environment.pop("ENVIRONMENT", None)
    for name, field in ASKED.items():
        if fields.get(field, "0") in ("0", "(null)"):
            environment.pop(name, None)
    for name, field in NUMBERS.items():
        if name in environment and fields.get(field, "").isdigit():
            environment[name] = fields[field]
    per_node = fields.get("NtasksPerN:B:S:C", "").partition(":")[0]
    if per_node == "0":
        environment.pop("SLURM_NTASKS_PER_NODE", None)
    shown = [value for field, value in fields.items() if field.startswith(("TresPer", "TRES", "AllocTRES", "Gres"))]
    if "gpu" not in "".join(shown) and fields.get("OverSubscribe") != "NO":  # an exclusive job has what its nodes have
        environment.pop("SLURM_GPUS_ON_NODE", None)


def own_step(process: str = "self") -> tuple[str, str]:
    """The job and step (`7`, `batch`) that this process is in, by its cgroup, else by the slurmstepd that it descends
    from; empty words where neither shows one, as in the shell of salloc on a login node, or in some containers."""
    groups = _read(process, "cgroup")
    if found := re.search(r"/job_(\d+)/step_(\w+)", groups):
        return found[1], found[2]
    while process not in ("", "0", "1"):
        if found := re.match(r"slurmstepd: \[(\d+)(?:\+\d+)?\.(\w+)\]", _read(process, "cmdline")):
            return found[1], found[2]
        after_name = _read(process, "stat").rpartition(")")[2].split()  # state, parent, ... (proc(5))
        process = after_name[1] if after_name else ""
    return "", ""


def _read(process: str, name: str) -> str:
    try:
        return Path(f"/proc/{process}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _named(name: str, *patterns: str) -> bool:
    return name not in KEPT and any(re.fullmatch(pattern, name) for pattern in patterns)


def _drop(environment: Environment, *patterns: str) -> None:
    for name in [name for name in environment if _named(name, *patterns)]:
        del environment[name]


def _become(wanted: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ.update(wanted)
