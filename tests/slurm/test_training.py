"""A run on a real Slurm cluster survives everything the scheduler does to it, bit for bit."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_user import SETTINGS, TWO_NODES, User, trained, wait_for
from limits import HANG_S
from places import REPOSITORY
from slurm_cluster import Cluster


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> User:
    return User(cluster, tmp_path, demo_shards)


def finish_and_compare(user: User, name: str, *changes: object) -> None:
    """End the run one epoch further, with these settings changed; train the same undisturbed, and compare every bit."""
    user.medtrain("stop", name)
    stopped = user.until(name, "stopped by the user", lambda s: s["state"] == "stopped" and s["where"] is None)
    epochs = stopped["epoch"] + 1
    user.medtrain("resume", name, "--epochs", epochs, *changes)
    user.until(name, "finished", lambda s: s["state"] == "finished" and s["where"] is None)
    calm = [*SETTINGS, "--epochs", str(epochs), "--tasks_per_node", "2"]
    user.medtrain("train", "mednist", "--shards", user.shards, "--run", "calm", *calm)
    assert trained(user.run(name)) == trained(user.run("calm"))


def test_requeue_preemption_and_time_limit_change_no_bit(user: User) -> None:
    user.env["SLOW_STEP_S"] = "0.5"  # Slurm takes more than a minute to see that a job is over its limit
    job = user.submit("storm", *TWO_NODES, "--time", "30", "--signal_seconds", "30")

    user.until("storm", "trains", lambda s: s["step"] > 0 and s["state"] == "running")
    user.cluster.run("scontrol", "requeue", job)
    user.until("storm", "runs again after a requeue", lambda s: s["attempts"] == 2 and s["state"] == "running")

    before = len(user.attempts("storm"))
    urgent = user.cluster.sbatch("--partition=high", "--nodes=2", "--exclusive", script="#!/bin/bash\nsleep 2\n")
    user.cluster.wait(urgent, "COMPLETED")
    user.until("storm", "runs again after a preemption", lambda s: s["attempts"] == 3 and s["state"] == "running")
    preempted = next(row for row in user.attempts("storm")[before:] if row["event"] == "end")
    assert preempted["cause"] == f"preempted by job {urgent}"
    assert preempted["step"] == lost_nothing(user.run("storm"), preempted["step"])

    before = len(user.attempts("storm"))
    user.cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    user.until("storm", "runs again after the time limit", lambda s: s["attempts"] >= 4 and s["state"] == "running")
    limited = next(row for row in user.attempts("storm")[before:] if row["event"] == "end")
    assert limited["cause"] == "time limit"
    assert int(user.cluster.job(job)["Restarts"]) >= 3
    finish_and_compare(user, "storm")


def test_a_time_limit_without_a_warning_is_survived(user: User) -> None:
    """A user's own setting took the signal away; or it came with the limit, as Slurm looks only every half minute."""
    user.env |= {"SBATCH_SIGNAL": "B:23@1", "SLOW_STEP_S": "1"}  # SIGURG, which nobody minds
    user.submit("unwarned", *TWO_NODES, "--time", "1", "--signal_seconds", "30")
    user.until("unwarned", "runs again after its limit", lambda s: s["attempts"] == 2 and s["state"] == "running")
    *_, end, again = user.attempts("unwarned")
    assert (end["cause"], again["event"]) == ("time limit", "start")
    assert again["step"] >= end["reached"] - 5, "no more is lost than the steps between two saves"
    user.medtrain("stop", "unwarned")
    user.until("unwarned", "stopped", lambda s: s["state"] == "stopped" and s["where"] is None)


def test_a_signal_before_anybody_listens_is_survived(user: User, slow_to_start: Path) -> None:
    """As a node sends it that hears late of its failure in the job's life before, and ends the new life instead."""
    job = user.submit("early", *TWO_NODES)
    wait_for(slow_to_start)
    user.cluster.run("scancel", "--full", "--signal=TERM", job)
    user.until("early", "trains in its second life", lambda s: s["step"] > 0 and s["state"] == "running")
    assert user.cluster.job(job)["Restarts"] == "1"
    user.medtrain("stop", "early")
    user.until("early", "stopped", lambda s: s["state"] == "stopped" and s["where"] is None)


def test_a_cancelled_job_that_has_not_begun_stays_away(user: User, slow_to_start: Path) -> None:
    job = user.submit("gone", "--partition", "low")
    wait_for(slow_to_start)
    user.cluster.run("scancel", job)
    user.cluster.wait(job, "CANCELLED")
    assert user.cluster.job(job)["Restarts"] == "0"
    user.until("gone", "is not in the queue", lambda s: s["where"] is None)


def lost_nothing(run: Path, step: int) -> int:
    """The step that the log says it saved when it was asked to stop."""
    log = (run / "train.log").read_text()
    assert f"saved at step {step:,}" in log, log
    return step


def test_the_admins_signal_option_saves_at_once(
    cluster_user_signal: Cluster, tmp_path: Path, demo_shards: Path
) -> None:
    user = User(cluster_user_signal, tmp_path, demo_shards)
    user.submit("warned", *TWO_NODES)
    user.until("warned", "trains", lambda s: s["step"] > 0 and s["state"] == "running")
    urgent = user.cluster.sbatch("--partition=high", "--nodes=2", "--exclusive", script="#!/bin/bash\nsleep 1\n")
    user.until("warned", "runs again", lambda s: s["attempts"] == 2 and s["state"] == "running")
    first_end = next(row for row in user.attempts("warned") if row["event"] == "end")
    assert first_end["cause"] == f"preempted by job {urgent}"
    assert first_end["step"] == lost_nothing(user.run("warned"), first_end["step"])
    user.medtrain("stop", "warned")
    user.until("warned", "stopped", lambda s: s["state"] == "stopped" and s["where"] is None)


def test_a_hand_written_sbatch_script_is_supervised_alike_as_slurm_26_05_starts_it(
    user: User, demo_shards: Path
) -> None:
    """From 26.05 on the environment of a batch script has the number of a step, which is no step of tasks."""
    medtrain = user.folder / "medtrain"
    real = shlex.quote(str(Path(sys.executable).parent / "medtrain"))
    medtrain.write_text(f'#!/bin/sh\nexport SLURM_STEP_ID=-5 SLURM_STEPID=-5\nexec {real} "$@"\n')
    medtrain.chmod(0o700)
    command = [
        "sbatch",
        "--parsable",
        "--partition=low",
        "--nodes=2",
        "--ntasks-per-node=2",
        f"--chdir={user.folder}",
        str(REPOSITORY / "slurm" / "train.sbatch"),
        "mednist",
        "--shards",
        str(demo_shards),
        "--run",
        "byhand",
        *SETTINGS,
    ]
    job = subprocess.run(
        command,
        env={**user.env, "MEDTRAIN": str(medtrain)},
        capture_output=True,
        text=True,
        check=True,
        cwd=user.folder,
    ).stdout.strip()
    wait_for(user.run("byhand") / "config.yaml")
    user.until("byhand", "trains", lambda s: s["step"] > 0)
    user.cluster.run("scontrol", "requeue", job)
    again = user.until("byhand", "runs again", lambda s: s["attempts"] == 2 and s["state"] == "running")
    assert again["where"] == f"job {job}"
    assert [row["ranks"] for row in user.attempts("byhand") if row["event"] == "start"] == [4, 4]
    user.medtrain("stop", "byhand")
    user.until("byhand", "stopped", lambda s: s["state"] == "stopped" and s["where"] is None)


@pytest.fixture
def patient(user: User) -> Iterator[User]:
    """A person whose preempted jobs have time to save, however busy the machine is."""
    user.cluster.run("scontrol", "update", "PartitionName=low", "GraceTime=240")
    yield user
    user.cluster.run("scontrol", "update", "PartitionName=low", "GraceTime=20")


@pytest.mark.slow
def test_from_slurm_24_05_on_a_preempted_job_leaves_the_requeue_to_slurm_and_a_stop_is_final(patient: User) -> None:
    """The controller here is an older one that says it is 24.05: it does not bring the job back, which so shows that
    nobody else has asked for that."""
    user = patient
    real, newer = shutil.which("scontrol"), user.folder / "newer" / "scontrol"
    newer.parent.mkdir()
    newer.write_text(f'#!/bin/sh\n{real} "$@" | sed "s/^\\(SLURM_VERSION *= \\).*/\\124.05.8/"\n')
    newer.chmod(0o700)
    user.env["PATH"] = f"{newer.parent}:{user.env['PATH']}"
    job = user.submit("newer", *TWO_NODES)
    user.until("newer", "trains", lambda s: s["step"] > 0)
    urgent = ("--partition=high", "--nodes=2", "--exclusive", "--wrap", "sleep 1")
    user.cluster.wait(user.cluster.sbatch(*urgent), "COMPLETED")
    assert user.cluster.wait(job, "FAILED")["Restarts"] == "0", "left with 75 and without a requeue"
    assert user.attempts("newer")[-1]["kind"] == "preempted"

    user.medtrain("resume", "newer")
    job = json.loads((user.run("newer") / "slurm" / "job.json").read_text())["job"]
    user.until("newer", "trains again", lambda s: s["attempts"] == 2 and s["state"] == "running" and s["step"] > 0)
    user.cluster.sbatch(*urgent)
    deadline = time.monotonic() + HANG_S
    while user.cluster.job(job).get("PreemptTime", "None") == "None":
        assert time.monotonic() < deadline, "not preempted"
    (user.run("newer") / "stop").touch()  # as `medtrain stop` does, before the ranks have saved
    user.cluster.wait(job, "CANCELLED")
    assert user.attempts("newer")[-1]["cause"] == "stopped by the user (medtrain stop)"


def test_the_dry_run_prints_what_is_sent(user: User) -> None:
    options = ["--partition", "low", "--time", "5", "--mem_gb", "2", "--cpus_per_task", "1"]
    printed = user.medtrain(
        "submit", "mednist", "--shards", user.shards, "--run", "twin", "--dry-run", *SETTINGS, *options
    )
    job = user.submit("twin", *options)
    sent = user.cluster.run("scontrol", "write", "batch_script", job, "-").stdout
    assert printed.strip() == sent.strip()
    user.medtrain("stop", "twin")


def test_an_interactive_allocation_trains_and_verifies_on_its_nodes(user: User) -> None:
    def allocated(*words: str) -> str:
        command = ["salloc", "--partition=low", "--nodes=2", "--ntasks-per-node=1"]
        command += [sys.executable, "-m", "medtrain", *words]
        done = subprocess.run(command, cwd=user.folder, env=user.env, capture_output=True, text=True, timeout=HANG_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    allocated("train", "mednist", "--shards", str(user.shards), "--run", "inter", *SETTINGS, "--epochs", "1")
    assert user.status("inter")["state"] == "finished"
    assert [row["ranks"] for row in user.attempts("inter") if row["event"] == "start"] == [2]
    printed = allocated("verify", "inter")
    assert "from step 20 (step-00000020) to step 24 on 2 ranks in" in printed and "bit for bit" in printed
