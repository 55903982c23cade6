"""A run that crashes on a real cluster starts again in the allocation that it has, unless the queue is of more use."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from cluster_user import TWO_NODES, User
from faults import Target, kill_the_loaders_of_a_rank
from job_life import Life
from marked_processes import marked_processes
from slurm_cluster import Cluster
from test_status_on_slurm import stop_controller
from test_training import finish_and_compare

from medtrain.runs.attempts import rows_of
from medtrain.runs.journal import rows
from medtrain.runs.run import Run

SAVES = ("--every_steps", "1")


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> User:
    return User(cluster, tmp_path, demo_shards)


def restarts(life: Life) -> str:
    """How often Slurm has requeued the job."""
    return life.cluster.job(life.job)["Restarts"]


def saves(life: Life, attempt: int) -> None:
    """Wait until an attempt has saved something new."""

    def holds(row: dict[str, Any]) -> bool:
        starts = [one["step"] for one in rows_of(Run(life.user.run(life.name))) if one["event"] == "start"]
        return len(starts) >= attempt and bool(row["saved_step"] > starts[attempt - 1])

    life.user.until(life.name, f"attempt {attempt} has saved", holds)


def kill_srun(user: User) -> None:
    """The ranks' own: they outlive it, and Slurm has to end their step."""
    for pid in marked_processes(user.cluster.conf):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"srun"):
                os.kill(pid, signal.SIGKILL)


def test_a_storm_of_crashes_gives_nothing_back_to_the_queue(user: User) -> None:
    """SIGKILL of ranks and loaders, and a rank that hangs; one more is killed just before `medtrain stop`. The bits are
    those of a run that nobody touched."""
    life = Life(user, "storm", *TWO_NODES, *SAVES, "--hang_timeout_seconds", "5")
    target = Target(user, "storm", life.job, random.Random(1))
    faults = [
        lambda: life.kill(1, signal.SIGKILL),
        lambda: kill_the_loaders_of_a_rank(target),
        lambda: life.kill(1, signal.SIGSTOP),
    ]
    for attempt, fault in enumerate(faults, 1):
        saves(life, attempt)
        fault()
    saves(life, len(faults) + 1)
    assert restarts(life) == "0"
    history = user.status("storm")["history"]
    assert [row["same_allocation"] for row in history] == [False] + [True] * len(faults)
    assert [row["kind"] for row in history[:-1]] == ["killed", "crashed", "hung"]
    table = user.medtrain("status", "storm")
    assert table.count("same job") == len(faults) and table.count("queue") == 1
    life.kill(0, signal.SIGKILL)
    finish_and_compare(user, "storm")
    assert restarts(life) == "0" and life.cluster.job(life.job)["JobState"] == "FAILED", "left with 75: a stop is final"


def test_a_cancelled_job_starts_no_other_step(user: User) -> None:
    life = Life(user, "gone", *TWO_NODES, *SAVES)
    saves(life, 1)
    life.kill(1, signal.SIGKILL)
    user.cluster.run("scancel", life.job)
    user.until("gone", "is not in the queue", lambda row: row["where"] is None)
    assert [row["event"] for row in user.attempts("gone") if row["event"] != "signal"] == ["begin", "start", "end"]
    assert user.status("gone")["state"] == "stopped"


@pytest.mark.slow
def test_a_step_that_outlives_its_srun_and_a_controller_that_is_away(user: User) -> None:
    life = Life(user, "alone", *TWO_NODES, *SAVES)
    saves(life, 1)
    kill_srun(user)
    saves(life, 2)
    stop_controller(user.cluster)
    life.kill(1, signal.SIGKILL)
    user.until("alone", "has ended", lambda row: row["history"][1]["kind"] == "killed")
    user.cluster._start_controller()
    saves(life, 3)
    assert restarts(life) == "0"
    assert [row["same_allocation"] for row in user.status("alone")["history"]] == [False, True, True]
    user.medtrain("stop", "alone")


@pytest.mark.slow
def test_seconds_from_a_killed_rank_to_the_next_step(user: User, capsys: pytest.CaptureFixture[str]) -> None:
    """In the same job after a newer checkpoint, by the queue without one, in turn; its figures are in RESULTS.md."""
    life = Life(user, "timed", *TWO_NODES, "--every_steps", "12")
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for attempt in range(1, 15):
        kept = attempt % 2 == 1
        saves(life, attempt) if kept else life.trains(attempt, steps=1)
        killed = time.time()
        life.kill(1, signal.SIGKILL)
        life.trains(attempt + 1, steps=1)
        run = Run(user.run("timed"))
        start = [row for row in rows_of(run) if row["event"] == "start"][attempt]
        seconds[kept].append(
            next(row["time"] for row in rows(run.journal, "step") if row["time"] > start["time"]) - killed
        )
    history = user.status("timed")["history"]
    assert [row["same_allocation"] for row in history] == [False, *[True, False] * 7]
    with capsys.disabled():
        for kept, where in ((True, "in the same job"), (False, "by the queue")):
            median, least, most = (f"{of(seconds[kept]):.1f}" for of in (statistics.median, min, max))
            print(f"\n{where}: median of {len(seconds[kept])} {median} s ({least} to {most})", end="")
    user.medtrain("stop", "timed")
