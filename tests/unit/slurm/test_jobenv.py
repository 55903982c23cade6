"""slurm.job_environment: variables of another job reach no job that is sent from it, and are believed by no process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from places import REPOSITORY

from medtrain.distributed.rank_environment import SUPERVISOR, set_rank_environment
from medtrain.launch.rank_processes import for_srun
from medtrain.slurm import job_environment, queries
from medtrain.slurm.environment import in_slurm_job, own_job
from medtrain.slurm.queries import parse
from medtrain.slurm.sbatch import TRAPS

SLURM_FOLDER = REPOSITORY / "slurm"
# The user's own, on any node.
HOME = {"PATH": "/usr/bin", "HOME": "/home/me", "SLURM_CONF": "/etc/slurm.conf", "SLURM_JWT": "token",
        "SLURM_CLUSTERS": "big", "SBATCH_ACCOUNT": "lab", "SBATCH_SIGNAL": "B:23@1", "VIRTUAL_ENV": "/v"}  # fmt: skip
# What a step of the array's task 1_3 had on Slurm 22.05.8 (`env` in `srun bash` in a script that was sent by
# `sbatch --array=3-3 --mem-per-cpu=500 --cpus-per-task=2`).
PRINTED = """\
    SLURMD_NODENAME=127.0.0.1 SLURM_ARRAY_JOB_ID=1 SLURM_ARRAY_TASK_COUNT=1 SLURM_ARRAY_TASK_ID=3
    SLURM_ARRAY_TASK_MAX=3 SLURM_CLUSTER_NAME=test SLURM_CPUS_ON_NODE=2 SLURM_CPUS_PER_TASK=2 SLURM_DISTRIBUTION=cyclic
    SLURM_JOBID=1 SLURM_JOB_ID=1 SLURM_JOB_NODELIST=127.0.0.1 SLURM_LAUNCH_NODE_IPADDR=127.0.0.1 SLURM_LOCALID=0
    SLURM_MEM_PER_CPU=500 SLURM_NPROCS=1 SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_RESTART_COUNT=2 SLURM_SRUN_COMM_PORT=34469
    SLURM_STEPID=0 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1 SLURM_TASK_PID=14362 SLURM_UMASK=0022 SRUN_DEBUG=3
    ENVIRONMENT=BATCH TMPDIR=/tmp OMP_NUM_THREADS=7 CUDA_VISIBLE_DEVICES=3 PMI_RANK=0 PMIX_SERVER_URI2=x RANK=1
    WORLD_SIZE=2 LOCAL_RANK=1 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500 TORCHELASTIC_RUN_ID=x ACCELERATE_USE_FSDP=true
    OMPI_COMM_WORLD_RANK=1 MEDTRAIN_SUPERVISOR=77 _SLURM_SPANK_OPTION_x=1 SLURM_GPUS_ON_NODE=4
    SBATCH_MEM_BIND=local SBATCH_CPU_BIND_TYPE=none SLURM_HET_SIZE=2 SLURM_TRES_PER_TASK=cpu=2
"""
STEP = dict(word.split("=", 1) for word in PRINTED.split())
# `scontrol --oneliner show job` of what that step sent by `sbatch --nodes=2 --mem=100`, shortened.
RECORD = parse(
    "JobId=2 JobName=wrap UserId=root(0) JobState=RUNNING Reason=None Dependency=(null) Restarts=0 BatchFlag=1"
    " AllocNode:Sid=localhost:14356 NodeList=127.0.0.[1-2] NumNodes=2 NumCPUs=2 NumTasks=2 CPUs/Task=1"
    " TRES=cpu=2,mem=200M,node=2,billing=2 NtasksPerN:B:S:C=0:0:*:* MinMemoryNode=100M OverSubscribe=OK"
)


def test_a_job_inherits_nothing_of_the_job_that_sends_it() -> None:
    assert job_environment.for_sbatch({**HOME, **STEP}) == HOME


def test_what_the_user_set_on_a_login_node_stays() -> None:
    own = {"OMP_NUM_THREADS": "4", "TMPDIR": "/scratch/me", "CUDA_VISIBLE_DEVICES": "0", "SBATCH_MEM_BIND": "local"}
    assert job_environment.for_sbatch({**HOME, **own}) == {**HOME, **own}
    launched = {"RANK": "0", "WORLD_SIZE": "1", "OMP_NUM_THREADS": "1"}  # torchrun sets the last where it is not set
    assert job_environment.for_sbatch({**HOME, **launched}) == HOME


def test_the_environment_is_back_after_a_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    before = dict(os.environ)
    with pytest.raises(KeyError), job_environment.as_on_a_login_node():
        assert subprocess.run(["env"], capture_output=True, text=True, check=True).stdout.count("SLURM_JOB_ID") == 0
        raise KeyError
    assert dict(os.environ) == before


def test_a_script_of_ones_own_keeps_only_what_its_job_has() -> None:
    """Slurm 22.05.8 overwrote JOB_ID, NODELIST and MEM_PER_NODE in the batch script and left all the rest."""
    inherited = {**HOME, **STEP, "SLURM_JOB_ID": "2", "SLURM_MEM_PER_NODE": "100", "SLURM_NNODES": "2"}
    job_environment.reconcile(inherited, RECORD)
    gone = {"SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT", "SLURM_MEM_PER_CPU",
            "SLURM_GPUS_ON_NODE", "SLURM_TRES_PER_TASK"}  # fmt: skip
    assert not gone & set(inherited)
    assert inherited["SLURM_NTASKS"] == "2", "an inherited 1 would train on one rank of two nodes"
    assert (inherited["SLURM_MEM_PER_NODE"], inherited["ENVIRONMENT"]) == ("100", "BATCH")


def test_a_requeued_task_of_an_array_keeps_its_own() -> None:
    own = {**HOME, "SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2",
           "SLURM_RESTART_COUNT": "1",
           "SLURM_GPUS_ON_NODE": "2", "SLURM_MEM_PER_CPU": "500", "SLURM_GPUS_PER_NODE": "2"}  # fmt: skip
    before = dict(own)
    record = {**RECORD, "JobId": "9", "ArrayJobId": "7", "ArrayTaskId": "2", "Restarts": "1", "MinMemoryCPU": "500M",
              "TresPerNode": "gres:gpu:2"}  # fmt: skip
    job_environment.reconcile(own, record)
    assert own == before


def test_the_shell_of_salloc_is_no_task_and_no_batch_script() -> None:
    shell = {**HOME, **STEP, "SLURM_JOB_ID": "2"}
    job_environment.reconcile(shell, {**RECORD, "BatchFlag": "0", "AllocNode:Sid": f"login:{os.getsid(0)}"})
    assert not [name for name in shell if name.startswith("SLURM_STEP")]
    assert "ENVIRONMENT" not in shell


@pytest.mark.parametrize(
    "lines",
    ["0::/system.slice/slurmstepd.scope/job_7/step_batch/user/task_0", "9:memory:/slurm/uid_0/job_7/step_batch/task_0"],
)
def test_the_cgroup_says_which_step_this_is(lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """cgroup/v2 and cgroup/v1 (cgroup_v2.c and cgroup_v1.c of Slurm)."""
    monkeypatch.setattr(job_environment, "_read", lambda process, name: lines if name == "cgroup" else "")
    assert job_environment.own_step() == ("7", "batch")


@pytest.mark.parametrize(("title", "step"), [("7.batch", ("7", "batch")), ("12+0.3", ("12", "3"))])
def test_without_cgroups_the_slurmstepd_above_says_it(title: str, step: tuple[str, str]) -> None:
    ask = f"{sys.executable} -c 'from medtrain.slurm import job_environment; print(job_environment.own_step())'; true"
    command = f'exec -a "slurmstepd: [{title}]" bash -c "$1"'
    done = subprocess.run(["bash", "-c", command, "bash", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(step)


def test_variables_of_a_job_that_is_over_are_not_used(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        queries, "ask_controller", lambda *words: ("", "slurm_load_jobs error: Invalid job id specified")
    )
    monkeypatch.setattr(os, "environ", {**HOME, **STEP})
    job_environment.reconcile_environment()
    assert not in_slurm_job() and own_job() == ""
    assert os.environ["SLURM_CONF"] == "/etc/slurm.conf"
    assert "Slurm job 1, which is over" in capfd.readouterr().err


def test_a_silent_controller_takes_nothing_from_a_running_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "ask_controller", lambda *words: ("", "Slurmctld(primary) at ctl is DOWN"))
    monkeypatch.setattr(
        os, "environ", {**HOME, "SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    )
    job_environment.reconcile_environment()
    assert own_job() == "7_2"


def test_a_rank_does_not_believe_a_leaked_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank that srun starts from a shell of torchrun, or of another rank, has its place from Slurm."""
    step = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_NTASKS": "2",
            "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.9", "SLURM_CPUS_PER_TASK": "2"}  # fmt: skip
    leaked = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "5", "LOCAL_WORLD_SIZE": "8", SUPERVISOR: "1"}
    monkeypatch.setattr(os, "environ", {**step, **leaked})
    set_rank_environment()
    assert [os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")] == ["1", "2", "0"]

    monkeypatch.setattr(os, "environ", {**leaked, SUPERVISOR: str(os.getppid())})
    set_rank_environment()
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == ("5", "8"), "its own supervisor is believed"

    monkeypatch.setattr(os, "environ", dict(leaked))
    set_rank_environment()
    assert "RANK" not in os.environ and "WORLD_SIZE" not in os.environ, "alone, and no part of another training"


def test_srun_starts_ranks_without_what_a_launcher_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os, "environ", {**HOME, "MASTER_ADDR": "10.0.0.1", "PMI_SIZE": "4", SUPERVISOR: "7", "RANK": "1"}
    )
    assert for_srun() == HOME


@pytest.mark.parametrize("name", ["train.sbatch", "shard.sbatch"])
def test_scripts_of_ones_own_come_back_by_the_same_lines(name: str) -> None:
    assert "\n".join(TRAPS[1:]) in (SLURM_FOLDER / name).read_text()


def test_what_submits_with_an_older_copy_of_medtrain_is_outside_of_the_job_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**HOME, **STEP})
    job_environment.leave()
    assert os.environ == HOME
