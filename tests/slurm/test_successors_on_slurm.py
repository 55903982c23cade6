"""Where Slurm cancels what it preempts, another job continues the run, and nobody is left in the queue."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_user import TWO_NODES, User
from faults import Target
from slurm_cluster import Cluster
from slurm_there import MISSING, REASON

URGENT = ("--nodes=2", "--exclusive", "--partition=high", "--wrap", "sleep 1")


@pytest.fixture(scope="module")
def cancelling() -> Iterator[Cluster]:
    """Two nodes whose jobs are cancelled when they are preempted."""
    if MISSING:
        pytest.skip(REASON)
    with Cluster(preemption="CANCEL") as cluster:
        yield cluster


@pytest.fixture
def user(cancelling: Cluster, tmp_path: Path, demo_shards: Path) -> Iterator[User]:
    yield User(cancelling, tmp_path, demo_shards)
    cancelling.reset()


def successor(user: User, name: str) -> str:
    """The job that waits for the run's own."""
    record = json.loads((user.run(name) / "slurm" / "job.json").read_text())
    (job,) = record["successors"]
    assert user.cluster.job(job)["Dependency"].startswith(f"afternotok:{record['job']}")
    return str(job)


def ended(user: User, *jobs: str) -> list[str]:
    """The states of jobs that have left the queue; nothing is in it."""
    assert user.cluster.run("squeue", "--noheader").stdout == ""
    return [user.cluster.job(job)["JobState"] for job in jobs]


def test_a_cancelled_job_is_continued_by_its_successor_and_a_stop_is_not(user: User) -> None:
    """That the bits are the same is shown by a storm (tests/storm/test_preemption_storm.py)."""
    first = user.submit("cut", *TWO_NODES, "--time", "30", "--nice=3")
    user.until("cut", "trains", lambda s: s["step"] > 0 and s["state"] == "running")
    second = successor(user, "cut")
    user.cluster.sbatch(*URGENT)  # with grace: the ranks save
    user.until("cut", "is continued", lambda s: s["where"] == f"job {second}" and s["attempts"] == 2)
    user.until("cut", "trains on", lambda s: s["state"] == "running")
    rows = user.attempts("cut")
    end = next(row for row in rows if row["event"] == "end")
    assert end["kind"] == "preempted" and end["step"] == end["reached"], "an announced end loses no step"
    assert sum(row["event"] == "begin" for row in rows) == 1, "no person started it again"
    assert user.cluster.job(second)["Nice"] == "3"
    last = successor(user, "cut")
    user.medtrain("stop", "cut")
    user.until("cut", "is stopped", lambda s: s["state"] == "stopped" and s["where"] is None)
    user.cluster.wait(second, {"FAILED", "CANCELLED"})
    assert ended(user, last) == ["CANCELLED"], "a stop is not continued"
    assert user.cluster.job(first)["JobState"] in ("FAILED", "PREEMPTED")


def test_a_killed_supervisor_is_continued_and_scancel_is_not(user: User) -> None:
    first = user.submit("cut", *TWO_NODES, "--time", "30")
    user.until("cut", "trains", lambda s: s["step"] > 5 and s["state"] == "running")
    second = successor(user, "cut")
    told = user.status("cut")["successor"]
    assert told == {"job": second, "age_counts": False}
    assert f"job {second} waits to continue it, should Slurm cancel job {first}" in user.medtrain("status", "cut")
    Target(user, "cut", first, random.Random(1)).signal_one("medtrain.launch.supervisor", signal.SIGKILL)
    user.until("cut", "is continued", lambda s: s["where"] == f"job {second}" and s["attempts"] == 2)
    user.until("cut", "trains on", lambda s: s["state"] == "running")
    third = successor(user, "cut")
    user.cluster.run("scancel", second)
    user.until("cut", "is cancelled", lambda s: s["where"] is None)
    user.cluster.wait(third, "CANCELLED")
    assert user.status("cut")["last_cause"] == "cancelled by scancel"
    assert ended(user, first, second) == ["FAILED", "CANCELLED"]


def test_a_chain_from_the_login_node_ends_with_the_run(user: User) -> None:
    job = user.submit("short", *TWO_NODES, "--time", "30", "--successors", "2", "--epochs", "1")
    one, two = json.loads((user.run("short") / "slurm" / "job.json").read_text())["successors"]
    assert user.cluster.job(one)["Dependency"].startswith(f"afternotok:{job}")
    assert user.cluster.job(two)["Dependency"].startswith(f"afternotok:{one}")
    user.until("short", "finished", lambda s: s["state"] == "finished" and s["where"] is None)
    user.cluster.wait(job, "COMPLETED")
    user.cluster.wait(two, "CANCELLED")
    assert ended(user, one) == ["CANCELLED"]


def test_a_successor_that_is_none_any_more_does_not_train(user: User) -> None:
    """Whatever its dependency let it do: job.json decides."""
    user.submit("short", *TWO_NODES, "--time", "30", "--hold", "--successors", "1")
    (job,) = json.loads((user.run("short") / "slurm" / "job.json").read_text())["successors"]
    script = user.cluster.run("scontrol", "write", "batch_script", job, "-").stdout
    user.medtrain("stop", "short")
    again = user.cluster.sbatch(script=script.replace("#SBATCH --dependency", "##"))
    user.cluster.wait(again, "COMPLETED")
    log = (user.run("short") / "slurm" / f"{again}_0_log.out").read_text()
    assert f"run short: job {again} does not continue it: the run was stopped, or another job continues it" in log
    assert not (user.run("short") / "attempts.jsonl").exists()
    assert ended(user, job) == ["CANCELLED"]
