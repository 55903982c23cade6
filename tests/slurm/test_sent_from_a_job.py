"""What is sent from inside a job behaves as what is sent from a login node, whatever that job is."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster_user import SETTINGS, User, wait_for
from places import REPOSITORY
from slurm_cluster import Cluster

# Stands in for `medtrain train` in slurm/train.sbatch: what it would start, and where. A signal ends its first life.
BY_HAND = """\
import json, os, sys
from medtrain.slurm import job_environment as jobenv
from medtrain.slurm.environment import in_batch_script, own_job
from medtrain.launch.rank_processes import Srun
jobenv.reconcile_environment()
lives = open(sys.argv[1], "a")
ranks = Srun(sys.argv[1], []).count
lives.write(json.dumps([own_job(), ranks, in_batch_script(), os.environ.get("SLURM_RESTART_COUNT", "0")]) + "\\n")
lives.close()
os._exit(0 if "SLURM_RESTART_COUNT" in os.environ else 138)
"""
# The same for a job that is sent as `medtrain submit` does it: its whole environment.
SEND = """\
import json, sys
from pathlib import Path
from medtrain.slurm import sbatch
from medtrain.config.schema import SlurmConfig
folder = Path(sys.argv[1])
folder.mkdir()
sbatch.send(sbatch.executor(folder, "told", SlurmConfig(mem_gb=1)), f"srun --mem=1024 env -0 > {folder}.part && "
            f"mv {folder}.part {folder}.env", "")
"""
# A task of an array, requeued once, whose step is the shell of all that follows: each of these leaks another word.
PARENT = """\
#!/bin/bash
#SBATCH --array=3-3 --mem-per-cpu=500 --partition=low --requeue --output={folder}/parent.out
[ "${{SLURM_RESTART_COUNT:-0}}" = 1 ] || {{ scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_3"; sleep 60; }}
export RANK=1 WORLD_SIZE=2 MASTER_ADDR=10.0.0.1 MEDTRAIN_SUPERVISOR=1
cd {folder}
srun --export=ALL bash -c '{commands}' && touch sent
sleep 600
"""
OF_ITSELF = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_TASK_PID", "SLURM_JOB_NODELIST", "SLURM_NODELIST", "SLURMD_NODENAME",
             "SLURM_STEP_NODELIST", "SLURM_TOPOLOGY_ADDR", "SLURM_STEP_LAUNCHER_PORT", "SLURM_SRUN_COMM_PORT",
             "SLURM_LAUNCH_NODE_IPADDR", "SLURM_SUBMIT_DIR", "SLURM_SRUN_COMM_HOST", "SLURM_SUBMIT_HOST")  # fmt: skip
OF_A_SHELL = ("_", "PWD", "OLDPWD", "SHLVL", "OMP_NUM_THREADS", "TMPDIR", "HOSTNAME")


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> User:
    return User(cluster, tmp_path, demo_shards)


def environment(file: Path) -> dict[str, str]:
    """What a rank of a job that was sent has, but for what is its own in every job."""
    wait_for(file)
    pairs = dict(line.split("=", 1) for line in file.read_text().split("\0") if line)
    return {name: value for name, value in pairs.items() if name not in (*OF_ITSELF, *OF_A_SHELL)}


def test_a_task_a_step_an_allocation_and_a_requeued_job_send_as_a_login_node(user: User) -> None:
    folder, cluster = user.folder, user.cluster
    (folder / "by_hand.py").write_text(BY_HAND)
    (folder / "send.py").write_text(SEND)
    (folder / "medtrain").write_text(f"#!/bin/sh\nexec {sys.executable} {folder}/by_hand.py {folder}/lives\n")
    (folder / "medtrain").chmod(0o700)
    send = f"{sys.executable} {folder}/send.py {folder}"
    submit = [sys.executable, "-m", "medtrain", "submit", "mednist", "--shards", user.shards, "--run", "inner",
              "--json", *SETTINGS, "--epochs", "1", "--max_samples", "16", "--mem_gb", "1", "--partition", "low",
              "--nodes", "2",
              "--tasks_per_node", "1"]  # fmt: skip
    by_hand = f"MEDTRAIN={folder}/medtrain sbatch --nodes=2 {REPOSITORY}/slurm/train.sbatch"
    commands = f"{shlex.join(map(str, submit))} > sent.json && {send}/step && {by_hand}"
    parent = cluster.sbatch(script=PARENT.format(folder=folder, commands=commands))
    login = cluster.run("bash", "-c", f"{send}/login")
    assert login.returncode == 0, login.stderr
    allocation = cluster.run("salloc", "--mem-per-cpu=500", "--cpus-per-task=1", "bash", "-c", f"{send}/allocation")
    assert allocation.returncode == 0, allocation.stderr
    wait_for(folder / "sent")

    as_typed = environment(folder / "login.env")
    assert as_typed["SLURM_MEM_PER_NODE"] == "1024", "as asked; srun would refuse both words for memory"
    assert environment(folder / "allocation.env") == as_typed
    assert environment(folder / "step.env") == as_typed

    job = str(json.loads((folder / "sent.json").read_text())["job"])
    user.until("inner", "finished", lambda s: s["state"] == "finished" and s["where"] is None)
    starts = [row for row in user.attempts("inner") if row["event"] == "start"]
    assert [(row["job"], row["ranks"], row["restarts"]) for row in starts] == [(job, 2, 0)]

    wait_for(folder / "lives")
    lives = lives_of(folder / "lives", cluster)
    own = lives[0][0]
    assert lives == [[own, 2, True, "0"], [own, 2, True, "1"]], "two ranks, and it came back itself"
    assert own not in (parent, f"{parent}_3", job)
    assert cluster.job(f"{parent}_3")["Restarts"] == "1", "the task that sent all this is left alone"


def lives_of(file: Path, cluster: Cluster) -> list[list[Any]]:
    """What the script by hand was in both of its lives."""
    first = json.loads(file.read_text().splitlines()[0])[0]
    cluster.wait(first, "COMPLETED", restarts=1)
    return [json.loads(line) for line in file.read_text().splitlines()]
