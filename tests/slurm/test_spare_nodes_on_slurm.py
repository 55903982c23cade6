"""A run with spare nodes leaves bad ones without leaving its allocation, at the same number of ranks."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_user import TWO_NODES, User
from job_life import Life
from slurm_cluster import Cluster
from slurm_there import MISSING, REASON
from test_restart_on_slurm import SAVES, restarts, saves
from test_training import finish_and_compare


@pytest.fixture
def user(tmp_path: Path, demo_shards: Path) -> Iterator[User]:
    """A person with three nodes."""
    if MISSING:
        pytest.skip(REASON)
    with Cluster(nodes=3) as cluster:
        yield User(cluster, tmp_path, demo_shards)


def test_a_spare_node_takes_the_place_of_one_that_crashes_twice_or_is_drained(
    user: User, request: pytest.FixtureRequest
) -> None:
    life = Life(user, "spared", *TWO_NODES, *SAVES, "--spare_nodes", "1")
    for attempt in (1, 2):
        saves(life, attempt)
        life.kill(1, signal.SIGKILL)
    saves(life, 3)
    first, second, third = user.cluster.nodes
    life.scontrol("update", f"nodename={first}", "state=drain", "reason=test")  # of the batch script
    life.kill(0, signal.SIGKILL)
    saves(life, 4)
    history = user.status("spared")["history"]
    assert [row["nodes"] for row in history] == ["127.0.0.[1-2]", "127.0.0.[1-2]", "127.0.0.[1,3]", "127.0.0.[2-3]"]
    assert [row["node"] for row in history[:3]] == [second, second, first]
    assert [row["ranks"] for row in history] == [2] * 4
    assert restarts(life) == "0" and all(row["same_allocation"] for row in history[1:])
    if request.config.getoption("--slow"):
        life.scontrol("update", f"nodename={first}", "state=resume")
        finish_and_compare(user, "spared")
        assert user.status("spared")["history"][-1]["nodes"] == "127.0.0.[1-2]", f"{third} is spare again"
    else:
        user.medtrain("stop", "spared")
