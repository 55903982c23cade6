"""A run with `--nodes 1-2` trains on as many nodes as are free at each attempt, with the bits of two."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_user import SETTINGS, User, trained
from job_life import Life
from slurm_cluster import Cluster
from test_restart_on_slurm import SAVES, saves

EXACT = ("--determinism", "exact")
OTHER = ("--partition=high", "--nodes=1", "--exclusive", "--wrap", "sleep 1000")


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> User:
    """A person with two nodes."""
    return User(cluster, tmp_path, demo_shards)


def test_one_node_then_two_then_one_have_the_bits_of_two(user: User) -> None:
    other = user.cluster.sbatch(*OTHER)
    user.cluster.wait(other, "RUNNING")
    one_or_two = ("--nodes", "1-2", "--tasks_per_node", "1", "--cpus_per_task", "1", "--partition", "low")
    life = Life(user, "moldable", *one_or_two, *EXACT, *SAVES)
    saves(life, 1)
    user.cluster.run("scancel", other)
    user.cluster.wait(other, "CANCELLED")
    life.scontrol("requeue", life.job)
    saves(life, 2)
    user.cluster.wait(user.cluster.sbatch(*OTHER), "RUNNING")  # preempts it
    saves(life, 3)
    assert [row["ranks"] for row in user.status("moldable")["history"]] == [1, 2, 1]
    user.medtrain("stop", "moldable")
    stopped = user.until("moldable", "stopped", lambda row: row["state"] == "stopped" and row["where"] is None)
    epochs = str(stopped["epoch"] + 1)
    user.cluster.reset()
    user.medtrain("resume", "moldable", "--epochs", epochs)
    user.until("moldable", "finished", lambda row: row["state"] == "finished" and row["where"] is None)
    calm = [*SETTINGS, "--epochs", epochs, "--tasks_per_node", "2", *EXACT]
    user.medtrain("train", "mednist", "--shards", user.shards, "--run", "calm", *calm)
    assert trained(user.run("moldable")) == trained(user.run("calm"))
