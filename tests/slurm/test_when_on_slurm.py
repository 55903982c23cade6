"""`medtrain submit --when` tells from a real queue, and from waits that really happened, when a job would start."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from cluster_user import SETTINGS, User
from command import run
from limits import HANG_S
from slurm_cluster import Cluster

LOW = ("--partition", "low", "--time", "5")


def asked(user: User, *options: str) -> dict[str, Any]:
    """The answer of `submit --when --json`; nothing is in the queue or the folder after it that was not before."""
    queue = ("squeue", "--noheader", "--format=%i %T")
    before = user.cluster.run(*queue).stdout, sorted(user.folder.rglob("*"))
    words = ["submit", "mednist", "--shards", str(user.shards), "--run", "asked", *SETTINGS, *LOW, *options]
    told = json.loads(user.medtrain(*words, "--when", "--json"))
    assert (user.cluster.run(*queue).stdout, sorted(user.folder.rglob("*"))) == before
    return dict(told)


def test_waits_and_plans_of_runs_without_accounting(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> None:
    user = User(cluster, tmp_path, demo_shards)
    nothing = asked(user)
    assert (nothing["accepted"], nothing["waited_s"], nothing["plan_error_s"]) == (True, None, None)
    text = user.medtrain("submit", "mednist", "--shards", demo_shards, *LOW, "--when")
    assert "starts    unknown: no past wait of yours in partition low is known" in text
    assert "queue     no job waits in the partition" in text

    busy = cluster.sbatch("--nodes=2", "--exclusive", "--partition=low", "--time=10", "--wrap", "sleep 600")
    cluster.wait(busy, "RUNNING")
    user.submit("first", *LOW)
    sent = time.time()
    user.until("first", "Slurm plans it", lambda row: bool(row["waiting"] and row["waiting"]["start"]))
    told = asked(user)
    assert told["jobs_waiting"] == 1 and len(told["planned_starts"]) == 1
    assert told["planned_starts"][0] > sent + 60  # the end of the other one's limit
    cluster.run("scancel", busy)
    user.until("first", "it trains", lambda row: row["step"] >= 1)
    waited = time.time() - sent
    user.medtrain("stop", "first")
    cluster.wait_for_an_empty_queue()

    told = asked(user)
    assert told["waited_s"]["count"] == 1 and 0 < told["waited_s"]["median"] < waited and told["same_size"]
    assert told["plan_error_s"]["count"] == 1 and told["plan_error_s"]["median"] < -60  # much earlier than planned
    text = user.medtrain("submit", "mednist", "--shards", demo_shards, *LOW, "--when")
    assert "after it is sent, as your 1 job of 1 node in partition low" in text
    assert "early against them (1 plan)" in text


def test_waits_that_accounting_knows(accounted: Cluster, tmp_path: Path, demo_shards: Path) -> None:
    user = User(accounted, tmp_path, demo_shards)
    jobs = [accounted.sbatch("--partition=low", "--begin=now", "--wrap", "true") for _ in range(3)]
    for job in jobs:
        accounted.wait(job, "COMPLETED")
    begun = time.monotonic()
    while not (told := asked(user))["waited_s"] and time.monotonic() < begun + HANG_S:
        time.sleep(0.2)  # until slurmdbd has been told
    assert told["waited_s"]["count"] >= 3 and 0 <= told["waited_s"]["low"] <= told["waited_s"]["high"] < 600


def test_a_request_that_slurm_does_not_take(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> None:
    user = User(cluster, tmp_path, demo_shards)
    words = ["-m", "medtrain", "submit", "mednist", "--shards", str(demo_shards), "--nodes", "99", "--when"]
    done = run([sys.executable, *words], cwd=tmp_path, env=user.env)
    assert done.returncode == 1 and "starts    never, as it is requested" in done.stdout
    assert "accepted  no: " in done.stdout and "Requested node configuration is not available" in done.stdout
