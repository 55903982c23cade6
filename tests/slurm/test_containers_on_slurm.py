"""Ranks inside a container on a real cluster: squashfs, squashfuse and bubblewrap as a program of the site.

Inside there is the image's interpreter, the folders that medtrain says, and no command of Slurm.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import torch
from cluster_user import TWO_NODES, User
from job_life import URGENT, Life
from slurm_cluster import Cluster
from squashfs_there import MISSING, REASON
from test_training import finish_and_compare

from medtrain.runs.attempts import rows_of
from medtrain.runs.run import Run

# The image's root has /opt alone. A mount namespace of its own: the mount is gone with the rank, however that ends.
# Signals are for the rank: neither bash nor bubblewrap, which waits for it, may end by them.
PROGRAM = """\
#!/bin/bash
[ -n "$OWN_MOUNTS" ] || OWN_MOUNTS=1 exec unshare --mount "$0" "$@"
trap : TERM USR1 USR2
image=$1 root=$(mktemp -d) bound=()
shift
squashfuse "$image" "$root" || exit
while IFS=: read -r source target mode; do
    bound+=("--${{mode:+$mode-}}bind" "$source" "${{target:-$source}}")
done <<<"$MEDTRAIN_CONTAINER_BINDS"
echo "$SLURM_PROCID" >>{starts}
env --block-signal=TERM,USR1,USR2 bwrap --ro-bind "$root/opt" /opt --ro-bind /usr/lib /usr/lib --ro-bind /etc /etc \\
    --symlink usr/lib /lib --symlink usr/lib64 /lib64 --ro-bind-try /usr/lib64 /usr/lib64 --proc /proc --dev /dev \\
    --tmpfs /tmp "${{bound[@]}}" --setenv LD_LIBRARY_PATH /opt/python/lib --die-with-parent "$@"
"""
PYTHON = f"/opt/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
pytestmark = pytest.mark.skipif(bool(MISSING), reason=REASON)


def image_of(folder: Path) -> Path:
    """A squashfs image with this interpreter and its standard library."""
    root = folder / "root" / "opt" / "python"
    (root / "bin").mkdir(parents=True)
    (root / "lib").mkdir()
    shutil.copy(Path(sys.executable).resolve(), root / "bin" / Path(PYTHON).name)
    left_out = shutil.ignore_patterns("test", "site-packages", "dist-packages", "config-*", "idlelib", "ensurepip")
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, root / "lib" / library.name, ignore=left_out)
    for file in Path(sys.base_prefix, "lib").glob("libpython*.so*"):
        shutil.copy(file, root / "lib", follow_symlinks=False)
    made = folder / "train.squashfs"
    subprocess.run(["mksquashfs", folder / "root", made, "-quiet", "-no-progress", "-comp", "lzo"], check=True)
    return made


@pytest.mark.parametrize("preempted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_begun_bare_and_resumed_in_a_container(
    cluster: Cluster, tmp_path: Path, demo_shards: Path, preempted: bool
) -> None:
    """The bits of a run that nobody touched, and no warning that they may differ; also where both are preempted."""
    user = User(cluster, tmp_path, demo_shards)
    program, starts = tmp_path / "site-container", tmp_path / "starts"
    program.write_text(PROGRAM.format(starts=starts))
    program.chmod(0o755)
    packages = str(Path(torch.__file__).parents[1])
    seen = [packages, user.env["PYTHONPATH"]]
    user.env["PYTHONPATH"] = ":".join(seen[::-1])
    image = image_of(tmp_path)
    inside = ["--container", image, "--container_runtime", program, "--container_python", PYTHON]
    inside += ["--container_binds", *(f"{folder}:{folder}:ro" for folder in seen)]
    life = Life(user, "moved", *TWO_NODES, "--every_steps", "1")
    life.trains(1)
    if preempted:
        preempt(life)
        life.trains(2)
        user.medtrain("stop", "moved")
        user.until("moved", "stopped", lambda row: row["state"] == "stopped" and row["where"] is None)
        assert not starts.exists()
        user.medtrain("resume", "moved", *inside)
        life.job = str(json.loads((user.run("moved") / "slurm" / "job.json").read_text())["job"])
        life.trains(3)
        preempt(life)
        life.trains(4)
    finish_and_compare(user, "moved", *(() if preempted else inside))
    times = 3 if preempted else 1
    assert sorted(starts.read_text().split()) == ["0"] * times + ["1"] * times
    assert "differs from the first" not in (user.run("moved") / "train.log").read_text()
    left = [line for line in Path("/proc/mounts").read_text().splitlines() if str(tmp_path) in line]
    assert not left, "what was mounted is not"


def preempt(life: Life) -> None:
    """By a short job that wants both nodes."""
    urgent = life.cluster.sbatch(*URGENT, "--mem=100", script="#!/bin/bash\nsleep 1\n")
    life.cluster.wait(urgent, "COMPLETED")


def test_an_image_that_is_not_there_is_said_before_ranks_start(
    cluster: Cluster, tmp_path: Path, demo_shards: Path
) -> None:
    user = User(cluster, tmp_path, demo_shards)
    user.submit("lost", *TWO_NODES, "--container", f"{tmp_path}/gone.sif", "--container_runtime", "apptainer")
    row = user.until("lost", "failed", lambda row: row["state"] == "failed" and row["where"] is None)
    assert row["error"] == f"container is {tmp_path}/gone.sif, and there is no such file"
    assert "start" not in [row["event"] for row in rows_of(Run(user.run("lost")))], "an attempt of no use"


@pytest.mark.slow
def test_ranks_of_a_packed_environment(cluster: Cluster, tmp_path: Path, demo_shards: Path) -> None:
    """Preempted and resumed: the bits of a run from what is installed, and nothing stays mounted."""
    user = User(cluster, tmp_path, demo_shards)
    venv.create(tmp_path / "venv", symlinks=True)
    image = tmp_path / "environment.squashfs"
    user.medtrain("env", "pack", image, "--python", tmp_path / "venv" / "bin" / "python")
    user.env["PYTHONPATH"] += f":{Path(torch.__file__).parents[1]}"  # too large to be packed in a test
    user.env["TMPDIR"] = str(tmp_path)
    life = Life(user, "packed", *TWO_NODES, "--every_steps", "1", "--packed_environment", str(image))
    life.trains(1)
    assert f" {tmp_path}/medtrain-" in Path("/proc/mounts").read_text()
    preempt(life)
    life.trains(2)
    known, log = user.run("packed") / "environment.txt", user.run("packed") / "train.log"
    assert "differs from the first" not in log.read_text()
    known.write_text(known.read_text().replace("\ntorch ", "\ntorch 0."))
    finish_and_compare(user, "packed")
    assert log.read_text().count("differs from the first") == 1, "of two ranks"
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
