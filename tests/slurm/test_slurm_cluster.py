"""The test cluster does what a real one does (preempts, requeues, loses nodes) and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from limits import HANG_S
from marked_processes import marked_processes
from places import HELPERS
from slurm_cluster import Cluster

# Stopped in its first life, it asks for a second one, as a training job does: Slurm takes a batch script that
# merely ends during the grace time for COMPLETED or FAILED, and does not requeue it.
PREEMPTED = """#!/bin/bash
#SBATCH --partition=low --nodes=1 --ntasks=2 --exclusive --requeue --open-mode=append --signal=USR2@60
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then echo again; exit 0; fi
srun bash -c 'for name in TERM USR2; do trap "echo got $name; exit 75" $name; done
              echo ready; while :; do sleep 0.1; done'
scontrol requeue "$SLURM_JOB_ID"
"""


def until(condition: Callable[[], bool]) -> None:
    """Waits for what no state of a job tells."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def output(cluster: Cluster, job: str) -> str:
    """Reads what a job has written so far."""
    file = cluster.jobs_folder / f"slurm-{job}.out"
    return file.read_text() if file.exists() else ""


def test_tasks_of_a_job_on_two_nodes_know_their_place(cluster: Cluster) -> None:
    assert cluster.node_states() == {"127.0.0.1": "idle", "127.0.0.2": "idle"}
    say = "echo $SLURM_PROCID $SLURMD_NODENAME $SLURM_LAUNCH_NODE_IPADDR"
    job = cluster.sbatch("--nodes=2", "--ntasks-per-node=2", "--wrap", f"srun sh -c '{say}'")
    cluster.wait(job, "COMPLETED")
    node_of_task = ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"]
    expected = [f"{task} {node} 127.0.0.1" for task, node in enumerate(node_of_task)]
    assert sorted(output(cluster, job).splitlines()) == expected


@pytest.mark.parametrize(("fixture", "signal"), [("cluster", "TERM"), ("cluster_user_signal", "USR2")])
def test_preempted_job_is_told_and_runs_again(fixture: str, signal: str, request: pytest.FixtureRequest) -> None:
    cluster: Cluster = request.getfixturevalue(fixture)
    low = cluster.sbatch(script=PREEMPTED)
    until(lambda: output(cluster, low).count("ready") == 2)
    high = cluster.sbatch("--partition=high", "--nodes=2", "--exclusive", "--wrap", "true")
    cluster.wait(high, "COMPLETED")
    assert cluster.wait(low, "COMPLETED", restarts=1)["Restarts"] == "1"
    text = output(cluster, low)
    assert (text.count(f"got {signal}"), text.count("again")) == (2, 1), text


def test_requeue_by_hand(cluster: Cluster) -> None:
    job = cluster.sbatch("--requeue", "--wrap", '[ "${SLURM_RESTART_COUNT:-0}" = 1 ] || exec sleep 60')
    cluster.wait(job, "RUNNING")
    assert cluster.run("scontrol", "requeue", job).returncode == 0
    assert cluster.wait(job, "COMPLETED")["Restarts"] == "1"


def test_jobs_survive_the_loss_of_power_and_of_the_controller(cluster: Cluster) -> None:
    script = '[ "${SLURM_RESTART_COUNT:-0}" = 1 ] || exec sleep 60'
    job = cluster.sbatch("--requeue", "--nodelist=127.0.0.2", "--wrap", script)
    cluster.wait(job, "RUNNING")
    cluster.restart_controller()
    assert cluster.job(job)["JobState"] == "RUNNING"
    cluster.kill_node("127.0.0.2")
    assert marked_processes(cluster.conf, "127.0.0.2") == []
    cluster.node_up("127.0.0.2")
    assert cluster.wait(job, "COMPLETED")["Restarts"] == "1"


def test_node_taken_down_stays_down_until_taken_up(cluster: Cluster) -> None:
    cluster.node_down("127.0.0.1")
    time.sleep(1)  # a ping of the controller would bring a node back that is only down
    assert cluster.node_states()["127.0.0.1"] == "drained"
    cluster.node_up("127.0.0.1")
    assert cluster.node_states()["127.0.0.1"] == "idle"


def test_wait_in_vain_says_why(cluster: Cluster) -> None:
    job = cluster.sbatch("--hold", "--wrap", "true")
    with pytest.raises(TimeoutError, match=r"(?s)JobHeldUser.*slurmctld\.log.*_slurm_rpc_submit_batch_job"):
        cluster.wait(job, "RUNNING", timeout=0.2)


def test_clusters_side_by_side_and_fake_gpus(cluster: Cluster) -> None:
    with Cluster(nodes=1, gpus_per_node=4) as other:
        show = ["srun", "--gpus=2", "printenv", "CUDA_VISIBLE_DEVICES"]
        assert other.run(*show).stdout.strip() == "0,1"
        assert cluster.run(*show).returncode != 0
        assert (len(cluster.node_states()), len(other.node_states())) == (2, 1)


def test_down_leaves_nothing(cluster: Cluster) -> None:
    with Cluster() as other:
        job = other.sbatch("--nodes=2", "--wrap", "setsid sleep 600 & srun setsid sleep 600")
        other.wait(job, "RUNNING")
        until(lambda: len(marked_processes(other.conf)) > 10)
    assert marked_processes(other.conf) == []
    assert not other.folder.exists()
    assert set(cluster.node_states().values()) == {"idle"}


@pytest.mark.usefixtures("cluster")
def test_killed_session_leaves_nothing() -> None:
    code = "import slurm_cluster as s, time\nwith s.Cluster() as c: print(c.conf, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=HELPERS, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        conf = Path(session.stdout.readline().strip())
        assert len(marked_processes(conf)) >= 4
        session.kill()
    until(lambda: not marked_processes(conf) and not conf.parent.exists())
