"""A job keeps the code and the settings that it was submitted with, whatever becomes of them while it waits or runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import REPOSITORY
from slurm_cluster import Cluster
from test_training import SETTINGS, TWO_NODES, User, trained, wait_for


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> User:
    """Who looks after the runs, with the medtrain of this checkout."""
    return User(cluster, tmp_path, demo_shards)


@pytest.fixture
def author(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> User:
    """Who submits runs with a medtrain that may be edited and broken."""
    package = tmp_path / "installed" / "medtrain"
    shutil.copytree(REPOSITORY / "medtrain", package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "work").mkdir()
    author = User(cluster, tmp_path / "work", demo_shards)
    author.env["PYTHONPATH"] = str(package.parent)
    return author


def test_a_job_that_waits_keeps_its_code_and_settings(user: User, author: User, demo_shards: Path) -> None:
    urgent = user.cluster.sbatch("--partition=high", "--nodes=2", "--exclusive", script="#!/bin/bash\nsleep 600\n")
    user.cluster.wait(urgent, "RUNNING")
    (author.folder / "mine.yaml").write_text("seed: 7\n")
    job = author.submit("late", *TWO_NODES, "--runs", f"{user.folder}/runs", "-c", "mine.yaml")
    assert user.status("late")["state"] == "waiting"

    installed = Path(author.env["PYTHONPATH"]) / "medtrain"
    for file in installed.rglob("*.py"):
        file.write_text("this is not Python")
    (installed / "launch" / "rank_main.py").unlink()
    shutil.copytree(installed, author.folder / "medtrain")  # in the folder that the job starts in, too
    (author.folder / "mine.yaml").write_text("seed: 8\n")
    user.cluster.run("scancel", urgent)
    user.until("late", "trains", lambda s: s["step"] > 0 and s["state"] == "running")
    shutil.rmtree(installed)
    user.cluster.run("scontrol", "requeue", job)
    user.until("late", "runs again", lambda s: s["attempts"] == 2 and s["state"] == "running" and s["step"] > 0)

    user.medtrain("stop", "late")
    stopped = user.until("late", "stopped", lambda s: s["state"] == "stopped" and s["where"] is None)
    epochs = ["--epochs", str(stopped["epoch"] + 1)]
    user.medtrain("resume", "late", *epochs)
    user.until("late", "finished", lambda s: s["state"] == "finished" and s["where"] is None)
    calm = ["--shards", demo_shards, "--run", "calm", *SETTINGS, *epochs, "--seed", "7", "--tasks_per_node", "2"]
    user.medtrain("train", "mednist", *calm)
    assert trained(user.run("late")) == trained(user.run("calm"))


def test_a_hand_written_script_goes_on_with_the_copy(user: User, author: User, demo_shards: Path) -> None:
    script = [str(REPOSITORY / "slurm" / "train.sbatch"), "mednist", "--shards", str(demo_shards), "--run", "byhand"]
    place = ["--partition=low", f"--chdir={user.folder}", f"--output={user.folder}/job.log"]
    env = {**author.env, "MEDTRAIN": str(Path(sys.executable).parent / "medtrain")}
    command = ["sbatch", "--parsable", *place, *script, *SETTINGS]
    job = subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd=user.folder).stdout.strip()
    wait_for(user.run("byhand") / "config.yaml")
    user.until("byhand", "trains", lambda s: s["step"] > 0)
    supervisor = Path(author.env["PYTHONPATH"]) / "medtrain" / "launch" / "supervisor.py"
    supervisor.write_text("raise RuntimeError('the installed supervisor')\n")
    user.cluster.run("scontrol", "requeue", job)
    user.until("byhand", "runs again", lambda s: s["attempts"] == 2 and s["state"] == "running")
    pid = [row["pid"] for row in user.attempts("byhand") if row["event"] == "start"][-1]
    assert str(user.run("byhand") / "code") in Path(f"/proc/{pid}/cmdline").read_text()
    assert "resumes with its own copy of medtrain" in (user.folder / "job.log").read_text()
    user.medtrain("stop", "byhand")
    user.until("byhand", "stopped", lambda s: s["state"] == "stopped" and s["where"] is None)
