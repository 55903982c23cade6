"""A run with `--nodes 1-2` trains on as many nodes as are free at each attempt, with the bits of two."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from cluster_user import TWO_NODES, User
from job_life import Life
from slurm_cluster import Cluster
from test_restart_on_slurm import saves

EACH_STEP = ("--determinism", "exact", "--cpus_per_task", "1", "--every_steps", "1", "--keep_last", "199")
ONE_OR_TWO = ("--nodes", "1-2", "--tasks_per_node", "1", "--partition", "low")
FULL = ("--partition=high", "--cpus-per-task=3", "--ntasks-per-node=1")  # with one of a run that is not preempted


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> User:
    """A person with two nodes."""
    return User(cluster, tmp_path, demo_shards)


def saved(user: User, name: str) -> dict[str, Any]:
    """The loss of each step, and the hash of each tensor of each checkpoint."""
    run = user.run(name)
    manifests = run.glob("checkpoints/step-*/manifest.json")
    tensors = {path.parent.name: json.loads(path.read_text())["tensors"] for path in manifests}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return tensors | {f"loss {row['step']}": row["loss"] for row in rows if row["kind"] == "step"}


def test_one_node_then_two_then_one_have_the_bits_of_two(user: User) -> None:
    """Compared at every step with a run that has two nodes all the time."""
    user.env["SLOW_STEP_S"] = "0.5"
    user.submit("untouched", *TWO_NODES, *EACH_STEP, "--partition", "high")
    other = user.cluster.sbatch(*FULL, "--nodes=1", "--wrap", "sleep 1000")
    user.cluster.wait(other, "RUNNING")
    life = Life(user, "moldable", *ONE_OR_TWO, *EACH_STEP)
    saves(life, 1)
    user.cluster.run("scancel", other)
    user.cluster.wait(user.cluster.sbatch(*FULL, "--nodes=2", "--wrap", "true"), "COMPLETED")  # preempts it
    saves(life, 2)
    user.cluster.wait(user.cluster.sbatch(*FULL, "--nodes=1", "--wrap", "sleep 1000"), "RUNNING")  # and again
    saves(life, 3)
    ranks = {name: [row["ranks"] for row in user.status(name)["history"]] for name in ("moldable", "untouched")}
    assert ranks == {"moldable": [1, 2, 1], "untouched": [2]}
    found, expected = saved(user, "moldable"), saved(user, "untouched")
    assert len(found) >= 6 and found == {name: expected[name] for name in found}


def test_the_limit_that_was_granted_decides_whether_the_job_is_kept(user: User) -> None:
    """Of an hour Slurm grants 3 minutes, so that the job fits before one in front of it; a crash then takes the queue,
    where the hour would leave time in the job."""
    in_front = ("--partition=low", "--exclusive", "--time=10", "--wrap", "sleep 1000")
    user.cluster.wait(user.cluster.sbatch(*in_front, "--nodes=1"), "RUNNING")
    user.cluster.sbatch(*in_front, "--nodes=2")
    limits = ("--time", "60", "--time_min", "3", "--signal_seconds", "90")
    life = Life(user, "short", *ONE_OR_TWO, *EACH_STEP, *limits)
    saves(life, 1)
    assert (user.cluster.job(life.job)["TimeLimit"], user.cluster.job(life.job)["TimeMin"]) == ("00:03:00",) * 2
    life.kill(0, signal.SIGKILL)
    user.until("short", "is back in the queue", lambda row: row["state"] in ("waiting", "queued"))
    begun = next(row for row in user.attempts("short") if row["event"] == "start")
    assert 150 < begun["until"] - begun["time"] <= 180
    log = (user.run("short") / "train.log").read_text()
    assert "goes back to the queue (its time limit is near: " in log and " s are left, and 180 s needed" in log
