"""The doctor on a real cluster: no false alarm on a good one, and each planted defect by its name."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import slurm_accounting
from slurm_cluster import Cluster

from medtrain.doctor.checks import Finding, slurm


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No check remembers the cluster of the test before."""
    slurm.configuration.cache_clear()
    yield
    slurm.configuration.cache_clear()


def inside(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process a user of the cluster."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster.env[name])
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def restart_with(cluster: Cluster, **settings: str) -> None:
    """Changes slurm.conf and restarts the controller."""
    lines = cluster.conf.read_text().splitlines()
    known = [line for line in lines if line.partition("=")[0] not in settings]
    changed = [f"{name}={value}" for name, value in settings.items()]
    cluster.conf.write_text("\n".join([*changed, *known]) + "\n")
    cluster.restart_controller()


def found(finding: Finding | None) -> tuple[str, str]:
    """State and text of a finding that must be there."""
    assert finding is not None
    assert finding.fix or finding.state == "ok"
    return finding.state, finding.text


def test_a_good_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    inside(cluster, monkeypatch)
    assert slurm.programs().state == "ok"
    state, text = found(slurm.partitions())
    assert state == "ok"
    assert text.startswith("4 partitions: low* (up, 2 of 2 nodes in service, limit infinite)")
    assert found(slurm.submitting())[0] == "ok"
    assert found(slurm.requeueing()) == ("ok", "JobRequeue=1: stopped jobs go back to the queue")
    assert found(slurm.accounting())[0] == "ok"
    assert found(slurm.job())[0] == "ok"
    state, text = found(slurm.preemption())
    assert (state, "of nograce have less than 10 s" in text) == ("warn", True)
    assert "low: REQUEUE, 20 s grace" in text


def test_a_user_signal_makes_up_for_no_grace(cluster_user_signal: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    inside(cluster_user_signal, monkeypatch)
    assert found(slurm.preemption())[0] == "ok"


def test_jobs_that_do_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with Cluster(nodes=1) as cluster:
        restart_with(cluster, JobRequeue="0")
        inside(cluster, monkeypatch)
        state, text = found(slurm.requeueing())
        assert (state, text.startswith("JobRequeue=0")) == ("warn", True)
        # What the remedy says is true: a job that asks for it is requeued all the same, another is not.
        asking, plain = (cluster.sbatch(*words, "--wrap", "sleep 60") for words in (["--requeue"], []))
        for job in (asking, plain):
            cluster.wait(job, "RUNNING")
        assert cluster.run("scontrol", "requeue", asking).returncode == 0
        assert cluster.run("scontrol", "requeue", plain).returncode != 0
        slurm.configuration.cache_clear()
        conf = cluster.conf.read_text().replace("PreemptMode=REQUEUE GraceTime=20", "PreemptMode=CANCEL GraceTime=20")
        cluster.conf.write_text(conf)
        restart_with(cluster, PreemptMode="CANCEL")
        state, text = found(slurm.preemption())
        also = ("preempted jobs of nograce" in text, "of cancelled ones another job" in text)
        assert (state, *also) == ("warn", True, True)


@pytest.mark.skipif(bool(slurm_accounting.MISSING), reason=f"NOT TESTED: needs {slurm_accounting.MISSING}")
def test_preemption_by_qos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode and grace are those of the QOS then, whatever the partition says."""
    with slurm_accounting.AccountedCluster(nodes=1) as cluster:
        for name, rule in (("spot", "gracetime=60"), ("gone", "preemptmode=cancel"), ("calm", ""), ("urgent", "")):
            cluster._demand("sacctmgr", "-i", "add", "qos", name, *rule.split())
        cluster._demand("sacctmgr", "-i", "modify", "qos", "urgent", "set", "preempt=spot,gone")
        restart_with(cluster, PreemptType="preempt/qos", PreemptMode="REQUEUE")
        inside(cluster, monkeypatch)
        assert found(slurm.preemption("low", "spot")) == ("ok", "preempted jobs are warned (spot: REQUEUE, 60 s grace)")
        assert found(slurm.preemption("low", "calm")) == ("ok", "jobs of calm are not preempted")
        state, text = found(slurm.preemption("low", "gone"))
        assert (state, "preempted jobs of gone have less than" in text) == ("warn", True)


def test_no_node_in_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with Cluster(nodes=1) as cluster:
        inside(cluster, monkeypatch)
        cluster.node_down("127.0.0.1")
        state, text = found(slurm.partitions())
        assert (state, "0 of 1 nodes in service" in text) == ("FAIL", True)


def test_no_default_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    with Cluster(nodes=1) as cluster:
        cluster.conf.write_text(cluster.conf.read_text().replace(" Default=YES", ""))
        cluster.restart_controller()
        inside(cluster, monkeypatch)
        state, text = found(slurm.submitting())
        assert (state, "would be refused" in text, "partition" in text.lower()) == ("warn", True, True)


def test_a_silent_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    with Cluster(nodes=1) as cluster:
        inside(cluster, monkeypatch)
        cluster.conf.write_text(cluster.conf.read_text() + "MessageTimeout=2\n")
        cluster._daemons["slurmctld"].kill()
        cluster._daemons["slurmctld"].wait()
        state, text = found(slurm.partitions())
        assert (state, "Slurm does not answer" in text) == ("FAIL", True)
        assert slurm.submitting() is slurm.requeueing() is slurm.preemption() is slurm.accounting() is None


def test_variables_of_a_job_that_is_over(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    inside(cluster, monkeypatch)
    job = cluster.sbatch("--wrap", "true")
    cluster.wait(job, "COMPLETED")
    for number in (job, "99999"):
        monkeypatch.setenv("SLURM_JOB_ID", number)
        assert found(slurm.job())[0] == "FAIL"
    running = cluster.sbatch("--wrap", "sleep 60")
    cluster.wait(running, "RUNNING")
    monkeypatch.setenv("SLURM_JOB_ID", running)
    assert found(slurm.job())[0] == "ok"


def test_inside_a_job(cluster: Cluster) -> None:
    code = "from medtrain.doctor.checks import slurm; print(slurm.job())"
    shown = cluster.run("srun", "--ntasks=2", sys.executable, "-c", code)
    assert shown.stdout.count("state='ok', text='inside job ") == 2, shown.stderr
