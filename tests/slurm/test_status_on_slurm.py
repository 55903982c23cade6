"""`medtrain status` tells the truth about every kind of life that a job has, on a real cluster."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from cluster_user import TWO_NODES, User
from job_life import Life
from slurm_cluster import Cluster

NEVER_SAVE = ["--every_steps", "0", "--every_minutes", "0"]  # what is not announced is lost
IN_A_MOMENT = [
    "waits  it was requeued and starts again in a moment (BeginTime); Slurm plans it for T",
    "fix  none needed",
]
BOTH = "127.0.0.[1-2]"


ASKS_ACCOUNTING = "test_lives_with_a_silent_controller_and_after_a_purge"  # of nodes that fail, too


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With accounting too what is looked up there; with `--lives` every life."""
    both = metafunc.config.getoption("--lives") or metafunc.function.__name__ == ASKS_ACCOUNTING
    metafunc.parametrize("user", ["cluster", "accounted"] if both else ["cluster"], indirect=True)


@pytest.fixture
def user(request: pytest.FixtureRequest, tmp_path: Path, demo_shards: Path) -> User:
    """A person who trains on a cluster without accounting, and on one with it: `status` says the same there."""
    return User(request.getfixturevalue(request.param), tmp_path, demo_shards)


def test_lives_that_end_with_a_word(user: User) -> None:
    life = Life(user, "told", *TWO_NODES, *NEVER_SAVE)
    life.trains(1)
    expected = [f"1  T  -  {BOTH}  under way  "]
    assert life.told()[0].startswith(expected[0].strip())
    life.scontrol("requeue", life.job)
    life.waits()
    expected = [f"1  T  T  {BOTH}  requeued by scontrol requeue  steps  nothing lost"]
    assert life.told() == [*expected, *IN_A_MOMENT]

    life.trains(2)
    life.urgent()
    life.waits()
    expected += [f"2  T  T  {BOTH}  preempted by job J  steps  nothing lost"]
    assert life.told() == [*expected, *IN_A_MOMENT]

    limited = Life(user, "limited", "--partition", "low", "--time", "1", "--signal_seconds", "30")
    life.trains(3)
    user.medtrain("stop", "told")
    expected += [f"3  T  T  {BOTH}  stopped by the user (medtrain stop)  steps  nothing lost"]
    assert life.told() == expected

    status = user.status("told")
    user.medtrain("resume", "told", "--epochs", status["epoch"] + 2)  # of the one that was stopped all may be done
    user.until("told", "finishes", lambda row: row["state"] == "finished" and row["where"] is None)
    expected += [f"4  T  T  {BOTH}  finished  steps  nothing lost"]
    assert life.told() == expected

    user.until("limited", "reaches its time limit", lambda row: row["last_cause"] is not None)
    assert re.fullmatch(r"1  T  T  127\.0\.0\.\d  time limit  steps  nothing lost", limited.told()[0])
    user.medtrain("stop", "limited")


def test_lives_that_end_in_a_fault(user: User) -> None:
    life = Life(user, "faults", *TWO_NODES, *NEVER_SAVE, "--hang_timeout_seconds", "5")

    life.trains(1)
    life.kill(1, signal.SIGKILL)
    life.waits()
    expected = [f"1  T  T  {BOTH}  rank 1 on 127.0.0.2 killed by signal 9 (SIGKILL)  steps  lost"]
    assert life.told() == [*expected, *IN_A_MOMENT]

    life.trains(2)
    life.kill(1, signal.SIGSTOP)
    life.waits()
    hung = "hung: no heartbeat for 5 s while step N: rank 1 does not answer (stopped, or its node is gone), the others"
    expected += [f"2  T  T  {BOTH}  {hung} wait for it  steps  lost"]
    few = "it needs 2 nodes, and of that kind only 1 would be left"
    avoided = [f"127.0.0.2 could not be excluded ({few}) after attempt 2: two attempts crashed there"]
    assert life.told() == [*expected, *avoided, *IN_A_MOMENT]

    life.set("MinMemoryCPU=200")
    status = user.until("faults", "uses too much memory", lambda row: row["where"] is None)
    expected += [f"3  T  T  {BOTH}  out of memory on 127.0.0.N: N MiB used, 200 allowed  no steps"]
    assert life.told() == [*expected, *avoided]
    assert (status["state"], status["saved_step"]) == ("failed", 0), "three crashes without a checkpoint"


def test_lives_that_end_without_a_word(user: User) -> None:
    life = Life(user, "silent", *TWO_NODES, *NEVER_SAVE)
    cluster = user.cluster

    life.trains(1)
    cluster.node_down("127.0.0.2")
    life.waits()
    cluster.node_up("127.0.0.2")
    expected = [f"1  T  T  {BOTH}  node failure (127.0.0.2)  steps  nothing lost"]
    assert life.told()[:1] == expected

    life.trains(2)
    for change in (cluster.kill_node, cluster.node_down, cluster.node_up):
        for node in cluster.nodes:
            change(node)
    expected += [f"2  T  T  {BOTH}  node failure (127.0.0.1, 127.0.0.2)  steps  lost"]
    assert life.told()[:2] == expected, "nobody was left to write it down"

    # Nodes that are back so soon may yet be told to end what ran before: that costs a short attempt, or none.
    life.trains(3)
    life.scontrol("requeue", life.job)
    life.waits()
    life.set("Partition=nograce")
    number = user.status("silent")["attempts"] + 1
    life.trains(number)
    life.urgent()
    life.waits()
    preempted = f"{number}  T  T  {BOTH}  preempted by job J  steps  nothing lost"
    assert life.told()[number - 1 :] == [preempted, *IN_A_MOMENT]

    life.trains(number + 1)
    cluster.run("scancel", life.job)
    user.until("silent", "is cancelled", lambda row: row["where"] is None)
    assert life.told()[number:] == [f"{number + 1}  T  T  {BOTH}  cancelled by scancel  steps  nothing lost"]
    assert user.status("silent")["state"] == "stopped", "it does not come back"


def test_a_node_where_two_attempts_crashed_is_avoided(user: User) -> None:
    life = Life(user, "avoid", "--nodes", "1", "--tasks_per_node", "1", "--partition", "low", "--every_steps", "2")
    for attempt in (1, 2):
        life.trains(attempt)
        user.until("avoid", "has saved", lambda row, attempt=attempt: row["saved_step"] >= 2 * attempt)
        life.kill(0, signal.SIGKILL)
    life.waits()
    bad = user.status("avoid")["history"][0]["nodes"]
    assert user.cluster.job(life.job)["ExcNodeList"] == bad
    assert life.told()[2] == f"{bad} excluded after attempt 2: two attempts crashed there"
    life.trains(3)
    history = user.status("avoid")["history"]
    assert [row["nodes"] for row in history] == [bad, bad, ({"127.0.0.1", "127.0.0.2"} - {bad}).pop()]
    assert [row["same_allocation"] for row in history] == [False, True, False], "only the second crash is the node's"
    assert user.cluster.job(life.job)["Restarts"] == "1"


def test_lives_with_a_silent_controller_and_after_a_purge(user: User) -> None:
    cluster = user.cluster
    life = Life(user, "known", *TWO_NODES, *NEVER_SAVE)
    life.trains(1)
    for lose in (cluster.kill_node, cluster.node_down):
        lose("127.0.0.1")
    expected = [f"1  T  T  {BOTH}  node failure (127.0.0.1)  steps  lost"]
    user.until("known", "is back in the queue", lambda row: row["state"] == "waiting")
    assert life.told()[:1] == expected
    cluster.node_up("127.0.0.1")
    life.trains(2)

    stop_controller(cluster)
    assert life.told()[:1] == expected
    assert "under way, as far as is known: Slurm does not answer" in life.told()[1]
    cluster._start_controller()

    life.set("Requeue=0")
    for change in (cluster.kill_node, cluster.node_down):
        for node in cluster.nodes:
            change(node)
    cluster.wait(life.job, "NODE_FAIL")
    expected += [f"2  T  T  {BOTH}  node failure (127.0.0.1, 127.0.0.2)  steps  lost"]
    assert life.told() == expected
    stop_controller(cluster)
    for file in (cluster.folder / "state").glob("job_state*"):  # what a controller forgets some minutes after the end
        file.unlink()
    cluster._start_controller()
    assert "Invalid job id" in cluster.run("scontrol", "show", "job", life.job).stderr
    assert life.told() == expected
    status = user.status("known")
    assert (status["state"], status["note"]) == ("interrupted", "resume: medtrain resume known")


def stop_controller(cluster: Cluster) -> None:
    """End slurmctld orderly: what was killed forgets the last seconds, here that the attempt has begun."""
    cluster._daemons["slurmctld"].terminate()
    cluster._daemons["slurmctld"].wait()
