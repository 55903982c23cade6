"""`medtrain status` says why a job waits and what helps, for the reasons that a real cluster gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_user import User
from job_life import Life
from slurm_cluster import Cluster


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> User:
    """A person who trains on the cluster without accounting."""
    return User(cluster, tmp_path, demo_shards)


def test_reasons_to_wait(user: User) -> None:
    cluster = user.cluster
    other = cluster.sbatch("--nodes=2", "--exclusive", "--time=10", "--wrap", "sleep 600")
    cluster.wait(other, "RUNNING")
    life = Life(user, "waits", "--nodes", "2", "--partition", "low", "--time", "5")
    less = "ask for less, so that it fits in sooner: fewer --nodes, a shorter --time, another --partition"
    again = "medtrain stop waits, then medtrain resume waits"

    life.waits_for("Resources", "the requested nodes are busy (Resources); Slurm plans it for T", less)
    life.set("Nice=100")
    first = cluster.sbatch("--nodes=2", "--exclusive", "--wrap", "true")
    life.waits_for("Priority", "jobs of higher priority come first (Priority)", less)
    cluster.run("scancel", first)

    life.scontrol("hold", life.job)
    admin = "it was held by an administrator, who alone can let it go (JobHeldAdmin)"
    life.waits_for("JobHeldAdmin", admin, "ask the administrators of the cluster")
    life.scontrol("release", life.job)
    life.scontrol("uhold", life.job)
    life.waits_for("JobHeldUser", "it was held by its owner (JobHeldUser)", f"let it go: scontrol release {life.job}")
    life.scontrol("release", life.job)

    life.set(f"Dependency=afterok:{other}")
    life.waits_for("Dependency", f"it waits for another job to end (afterok:{other}(unfulfilled)) (Dependency)")
    cluster.run("scancel", other)
    never = f"it waits for another job that did not end as required (afterok:{other}(failed)): it never starts"
    life.waits_for("DependencyNeverSatisfied", f"{never} (DependencyNeverSatisfied)", again)

    life.scontrol("hold", life.job)
    life.set("Dependency=")
    life.set("StartTime=now+1hour")
    life.scontrol("release", life.job)
    begin = "it may not start before the time that it was given (BeginTime); Slurm plans it for T"
    life.waits_for("BeginTime", begin)
    life.set("ExcNodeList=127.0.0.1", "StartTime=now")
    bad = "no nodes of the partition fit what it asks for (constraint, memory, GPUs, excluded nodes) (BadConstraints)"
    life.waits_for("BadConstraints", bad, f"see what was requested: scontrol show job {life.job}; {again}")


def test_reasons_of_nodes_and_partitions_to_wait(user: User) -> None:
    cluster = user.cluster
    cluster.node_down("127.0.0.2")
    life = Life(user, "waits", "--nodes", "2", "--partition", "low", "--time", "5")
    down = "Nodes_required_for_job_are_DOWN"
    needed = "nodes that it needs are down, drained or reserved"
    higher = f"{down},_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions"
    life.waits_for(down, f"{needed} for higher partitions ({higher})", "wait, or fewer --nodes")

    life.set("NumNodes=1", "ReqNodeList=127.0.0.2")
    back = "wait until they are back (scontrol show reservation shows planned work), or a --time that ends before it"
    lost = "ReqNodeNotAvail,_UnavailableNodes:127.0.0.2"
    life.waits_for("ReqNodeNotAvail", f"{needed} (127.0.0.2) ({lost})", back)

    life.scontrol("update", "PartitionName=low", "State=DOWN")
    try:
        again = "medtrain stop waits, then medtrain resume waits --partition P"
        closed = "partition low is closed at the moment (PartitionDown)"
        life.waits_for("PartitionDown", closed, f"wait, or: {again}")
    finally:
        life.scontrol("update", "PartitionName=low", "State=UP")

    time = ("StartTime=now+60minutes", "Duration=60")
    life.scontrol("create", "reservation", "ReservationName=later", *time, "Nodes=127.0.0.1", "Users=root")
    try:
        life.set("ReqNodeList=", "ReservationName=later")
        full = "its reservation has not begun, or is full (Reservation)"
        life.waits_for("Reservation", full, "wait (scontrol show reservation)")
        cluster.run("scancel", life.job)
        assert user.status("waits")["state"] == "not yet"
    finally:
        life.scontrol("delete", "ReservationName=later")


def test_limits_to_wait_for_with_accounting(accounted: Cluster, tmp_path: Path, demo_shards: Path) -> None:
    user = User(accounted, tmp_path, demo_shards)
    accounted.run("scontrol", "update", "PartitionName=low", "State=DOWN")
    life = Life(user, "waits", "--partition", "low", "--time", "10", "--cpus_per_task", "2")
    life.scontrol("hold", life.job)
    life.scontrol("update", "PartitionName=low", "State=UP")
    wait = "wait until your other jobs end, or ask the administrators for a higher limit (sacctmgr show qos, assoc)"
    again = "medtrain stop waits, then medtrain resume waits"
    renewed = "wait until it is renewed, take another --account, or ask for more"
    jobs, more = "you have as many jobs as your {} allows", "your jobs together would use more than your {} allows"
    limits = [
        ("user root", "MaxJobs=0", "AssocMaxJobsLimit", jobs, wait),
        ("user root", "GrpJobs=0", "AssocGrpJobsLimit", jobs, wait),
        ("user root", "GrpTRES=cpu=0", "AssocGrpCpuLimit", more, wait),
        ("user root", "MaxWall=1", "AssocMaxWallDurationPerJobLimit",
         "it asks for more time than your {} allows a job: it never starts so", f"{again} --time T"),
        ("user root", "MaxTRES=cpu=1", "AssocMaxCpuPerJobLimit",
         "it asks for more than your {} allows one job: it never starts so", f"{again} with less"),
        ("user root", "GrpTRESMins=cpu=0", "AssocGrpCPUMinutesLimit",
         "the computing time of your {} is used up", renewed),
        ("qos normal", "MaxJobsPerUser=0", "QOSMaxJobsPerUserLimit", jobs, wait),
        ("qos normal", "GrpTRES=cpu=0", "QOSGrpCpuLimit", more, wait),
        ("qos normal", "MaxTRESPerUser=cpu=1", "QOSMaxCpuPerUserLimit", more, wait),
    ]  # fmt: skip
    for whose, limit, reason, why, helps in limits:
        change = ("sacctmgr", "-i", "modify", *whose.split(), "set")
        accounted.run(*change, limit)
        life.scontrol("release", life.job)
        holder = "QOS" if whose.startswith("qos") else "account"
        life.waits_for(reason, f"{why.format(holder)} ({reason})", helps)
        life.scontrol("hold", life.job)
        accounted.run(*change, f"{limit.rpartition('=')[0]}=-1")
