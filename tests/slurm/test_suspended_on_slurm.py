"""A job that Slurm suspends is told as that, nobody takes it for dead, and it ends as its user wants."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest
from cluster_user import TWO_NODES, User, trained
from command import run
from slurm_cluster import Cluster


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> User:
    return User(cluster, tmp_path, demo_shards)


def suspend(user: User, job: str) -> None:
    user.until("first", "trains", lambda s: s["state"] == "running" and s["saved_step"] > 0)
    user.cluster.run("scontrol", "suspend", job)
    user.cluster.wait(job, "SUSPENDED")


def test_a_suspended_run_is_told_stops_when_it_continues_and_can_be_cancelled(user: User) -> None:
    job = user.submit("first", *TWO_NODES, "--hang_timeout_seconds", "10", "--notify", "mail:me@example.org")
    suspend(user, job)
    about = user.cluster.job(job)
    assert about["MailUser"] == "me@example.org" and about["MailType"] == "INVALID_DEPEND,END,FAIL"
    suspended = time.monotonic()
    row = user.status("first")
    assert row["state"] == "suspended"
    assert re.fullmatch(r"suspended by Slurm for \d+ s; it continues by itself", row["note"])
    resume = [sys.executable, "-m", "medtrain", "resume", "first"]
    refused = run(resume, cwd=user.folder, env=user.env)
    assert refused.returncode == 2 and f"run first is still under way (job {job})" in refused.stderr
    told = user.medtrain("stop", "first")
    assert f"job {job} is suspended by Slurm; it saves and stops as soon as it continues" in told

    time.sleep(max(0.0, 6 - (time.monotonic() - suspended)))
    user.cluster.run("scontrol", "resume", job)
    user.until("first", "stopped", lambda s: s["state"] == "stopped" and s["where"] is None)
    start, noted, end = (row for row in user.attempts("first") if row["event"] != "begin")
    assert (start["event"], noted["event"], end["event"]) == ("start", "suspended", "end")
    assert noted["seconds"] > 4 and noted["preemptor"] == "", "an administrator's command, for no other job"
    assert (end["cause"], end["step"]) == ("stopped by the user (medtrain stop)", end["reached"])
    assert "attempt 1 was suspended by Slurm for" in user.medtrain("status", "first")
    log = (user.run("first") / "train.log").read_text()
    assert "first: the job was suspended by Slurm for" in log and "resuming from" not in log

    user.medtrain("resume", "first")
    user.until("first", "has a second attempt", lambda s: s["attempts"] == 2)
    again = str(user.status("first")["where"]).removeprefix("job ")
    suspend(user, again)
    user.cluster.run("scancel", again)
    gone = user.until("first", "is cancelled", lambda s: s["where"] is None)
    assert (gone["state"], gone["last_cause"]) == ("interrupted", "cancelled by scancel")
    assert len(trained(user.run("first"))["losses"]) >= gone["saved_step"] > 0
