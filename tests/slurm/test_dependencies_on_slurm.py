"""Jobs that wait for others, and a controller that is not there: as the real Slurm answers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_user import SETTINGS, User
from slurm_cluster import Cluster

# Its first task fails in its first life.
ARRAY = """\
#!/bin/bash
#SBATCH --array=0-1 --requeue --partition=low
[ "${SLURM_ARRAY_TASK_ID}" = 1 ] && exit 0
[ -n "$SLURM_RESTART_COUNT" ] || exit 1
until [ -e go ]; do sleep 0.2; done
"""


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> User:
    return User(cluster, tmp_path, demo_shards)


def submit(user: User, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medtrain", "submit", "mednist", "--shards", str(user.shards), "--run",
               "waits", *SETTINGS, "--partition", "low", *words]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, cwd=user.folder, env=user.env, check=False)


def test_a_job_is_sent_after_jobs_that_exist_and_an_array_that_failed_once(user: User) -> None:
    """Slurm 22.05.8 itself: afterok of an unknown job is met at once, of an array that failed once never."""
    array = user.cluster.sbatch(script=ARRAY)
    user.cluster.wait(f"{array}_0", "FAILED")
    for job, why in (
        ("99999", "Slurm does not know job 99999"),
        (array, f"job {array} has failed ({array}_0: FAILED)"),
    ):
        refused = submit(user, "--dependency", job)
        assert refused.returncode == 2 and why in refused.stderr, refused.stderr
        assert not (user.folder / "runs").exists()
    user.cluster.run("scontrol", "requeue", f"{array}_0")
    user.cluster.wait(f"{array}_0", "RUNNING", restarts=1)
    sent = submit(user, "--dependency", array)
    assert sent.returncode == 0, sent.stderr
    job = re.findall(r"job (\d+)", sent.stdout)[0]
    assert user.cluster.job(job)["Dependency"].startswith(f"afterok:{array}_0")
    (user.cluster.jobs_folder / "go").touch()
    user.cluster.wait(job, "RUNNING")


def test_without_a_controller_there_is_one_error_with_its_cause_and_no_run(user: User) -> None:
    other = user.folder / "slurm.conf"
    other.write_text(re.sub(r"SlurmctldPort=\d+", "SlurmctldPort=1", user.cluster.conf.read_text()))
    user.env["SLURM_CONF"] = str(other)
    done = submit(user)
    assert done.returncode == 1
    problem, fix = done.stderr.splitlines()
    assert re.fullmatch(r"error: Slurm does not answer \(Slurmctld\(primary\) at \S+ is DOWN\)", problem)
    assert "is the controller up (scontrol ping), and SLURM_CONF right?" in fix, "as the doctor says"
    assert fix.endswith("then: give the same command again")
    assert not (user.folder / "runs").exists()


def test_a_job_that_slurm_refuses_is_said_once_and_leaves_no_run(user: User) -> None:
    done = submit(user, "--partition", "nowhere")
    assert done.returncode == 1 and done.stderr.count("invalid partition") == 1, done.stderr
    assert "give the same command again" in done.stderr
    assert not list((user.folder / "runs").iterdir())
